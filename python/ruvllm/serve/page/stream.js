// Reads a body of server-sent events. Knows the transport only: lines, comments, `data:` fields; what the data
// mean is for completion.js.

/** The data of each event, as they come in. */
export async function* eventData(body) {
  let data = [];
  for await (const line of lines(body)) {
    if (line === "") {
      if (data.length) yield data.join("\n");
      data = [];
    } else if (line.startsWith("data:")) {
      data.push(line.slice(5).replace(/^ /, ""));
    }
  }
  // A server that closes without the last empty line has still said it.
  if (data.length) yield data.join("\n");
}

async function* lines(body) {
  const decoder = new TextDecoder();
  const reader = body.getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      rest += done ? decoder.decode() : decoder.decode(value, { stream: true });
      // A carriage return at the very end may be half of a line end.
      const parts = rest.split(done ? /\r\n|\n|\r/ : /\r\n|\n|\r(?!$)/);
      rest = parts.pop();
      yield* parts;
      if (done) break;
    }
    if (rest) yield rest;
  } finally {
    // Whoever stops reading ends the request too.
    reader.cancel().catch(() => undefined);
  }
}
