// Reads the server's Prometheus text and works out what the panel shows: gauges as they are, rates and hit
// shares between two readings. Makes no requests and no DOM.

const SAMPLE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/;
// What stands before a name's colon is the server's to choose.
const PREFIX = /^[^:]*:/;

/** Readings {name: [values over all label sets]}; comments and what is malformed are left out. */
export function parseMetrics(text) {
  const readings = new Map();
  for (const line of text.split("\n")) {
    if (line.startsWith("#")) continue;
    const found = SAMPLE.exec(line);
    const value = found ? Number(found[3]) : Number.NaN;
    if (Number.isNaN(value)) continue;
    const name = found[1].replace(PREFIX, "");
    if (!readings.has(name)) readings.set(name, []);
    readings.get(name).push(value);
  }
  return readings;
}

function total(readings, name) {
  const values = readings.get(name);
  return values ? values.reduce((sum, value) => sum + value, 0) : null;
}

function highest(readings, name) {
  const values = readings.get(name);
  return values ? Math.max(...values) : null;
}

/**
 * What happened between two readings that lie `seconds` apart (`before` null: only the gauges). A value is null
 * where the server does not say, or where nothing happened that it could be worked out from.
 */
export function summarize(before, now, seconds) {
  const grown = (name) => {
    const [from, to] = [before && total(before, name), total(now, name)];
    // A counter that fell began anew with the server.
    return from === null || to === null || to < from ? null : to - from;
  };
  const rate = (name) => (grown(name) === null ? null : grown(name) / seconds);
  const mean = (name) => ratio(grown(`${name}_sum`), grown(`${name}_count`));
  return {
    running: total(now, "num_requests_running"),
    waiting: total(now, "num_requests_waiting"),
    cacheUse: highest(now, "kv_cache_usage_perc"),
    hitShare: ratio(total(now, "prefix_cache_hits_total"), total(now, "prefix_cache_queries_total")),
    generatedPerSecond: rate("generation_tokens_total"),
    promptPerSecond: rate("prompt_tokens_total"),
    firstTokenSeconds: mean("time_to_first_token_seconds"),
    betweenTokensSeconds: mean("inter_token_latency_seconds"),
  };
}

function ratio(part, whole) {
  return part === null || whole === null || whole === 0 ? null : part / whole;
}
