//! What the limit of time costs: the reference pack's kernels in two engines of one process, of which only one
//! looks at the time. Nothing else differs, and nothing is copied.

use std::path::Path;
use std::time::Instant;

use wasmtime::{Config, Engine, Instance, Memory, Module, Store, TypedFunc};

use crate::Anything;

/// Turns, in each of which either engine makes [`CALLS`] calls.
const TURNS: usize = 400;
const CALLS: usize = 50;
const PAGE_BYTES: usize = 64 << 10;

/// One kernel, with its tensors laid out.
struct Case {
    name: &'static str,
    file: &'static str,
    entry: &'static str,
    /// Bytes of A, which is the output as well, and of B.
    planes: (usize, usize),
    params: &'static [u32],
}

const CASES: [Case; 3] = [
    Case {
        name: "RMSNorm 1 x 4096",
        file: "rmsnorm/rmsnorm_f32.wasm",
        entry: "rmsnorm_forward",
        planes: (4 * 4096, 4 * 4096),
        params: &[1, 4096, 0, 0, 16],
    },
    Case {
        name: "SwiGLU 1 x 11008",
        file: "swiglu/swiglu_f32.wasm",
        entry: "swiglu_forward",
        planes: (4 * 11008, 4 * 11008),
        params: &[11008, 0],
    },
    Case {
        name: "RoPE 32 heads of 128",
        file: "rope/rope_f32.wasm",
        entry: "rope_forward",
        planes: (4 * 32 * 128, 4 * 128),
        params: &[1, 1, 32, 128, 128, 0],
    },
];

/// An instance of a case.
struct Running {
    store: Store<()>,
    memory: Memory,
    forward: TypedFunc<u32, i32>,
    descriptor: usize,
    case: &'static Case,
}

impl Running {
    fn new(engine: &Engine, pack: &Path, case: &'static Case) -> Result<Self, Anything> {
        let module = Module::from_file(engine, pack.join(case.file))?;
        let mut store = Store::new(engine, ());
        store.set_epoch_deadline(u64::MAX / 2);
        let instance = Instance::new(&mut store, &module, &[])?;
        let memory = instance
            .get_memory(&mut store, "memory")
            .ok_or("no memory")?;
        let base = instance
            .get_global(&mut store, "__heap_base")
            .ok_or("no heap")?;
        let base = base.get(&mut store).i32().ok_or("no address")? as usize;
        let forward = instance.get_typed_func(&mut store, case.entry)?;
        memory.grow(
            &mut store,
            (case.planes.0 + case.planes.1).div_ceil(PAGE_BYTES) as u64 + 1,
        )?;
        Ok(Self {
            store,
            memory,
            forward,
            descriptor: base.next_multiple_of(16),
            case,
        })
    }

    /// The same numbers again: kernels that work in place would run off to infinity.
    fn lay_out(&mut self) {
        let (a, b) = self.case.planes;
        let params = self.descriptor + 64;
        let first = params + 64;
        let words = [
            first,
            a,
            first + a,
            b,
            first,
            a,
            0,
            0,
            params,
            4 * self.case.params.len(),
        ];
        let memory = self.memory.data_mut(&mut self.store);
        let mut put =
            |place: usize, word: u32| memory[place..place + 4].copy_from_slice(&word.to_le_bytes());
        for (index, word) in words.into_iter().enumerate() {
            put(self.descriptor + 4 * index, word as u32);
        }
        for (index, word) in self.case.params.iter().enumerate() {
            put(params + 4 * index, *word);
        }
        // Planes are whole numbers of f32; half of B is zeros, which turn nothing.
        for place in (first..first + a + b).step_by(4) {
            let value = match place {
                place if place < first + a => 30.0f32,
                place if place < first + a + b / 2 => 1.0,
                _ => 0.0,
            };
            put(place, value.to_bits());
        }
    }

    /// Nanoseconds for a call.
    fn turn(&mut self) -> Result<f64, Anything> {
        self.lay_out();
        let begin = Instant::now();
        for _ in 0..CALLS {
            self.store.set_epoch_deadline(u64::MAX / 2);
            if self.forward.call(&mut self.store, self.descriptor as u32)? != 0 {
                return Err(format!("{} refused its call", self.case.name).into());
            }
        }
        Ok(begin.elapsed().as_secs_f64() * 1e9 / CALLS as f64)
    }
}

fn engine(has_epochs: bool) -> Result<Engine, Anything> {
    let mut config = Config::new();
    config
        .relaxed_simd_deterministic(true)
        .signals_based_traps(false)
        .wasm_backtrace_max_frames(None)
        .epoch_interruption(has_epochs);
    Ok(Engine::new(&config)?)
}

/// Prints, by kernel, the median of both and of their ratio, turn by turn.
pub(crate) fn print(pack: &Path) -> Result<(), Anything> {
    println!("-- looking at the time (epochs), kernels alone");
    let (with, without) = (engine(true)?, engine(false)?);
    for case in &CASES {
        let (mut with, mut without) = (
            Running::new(&with, pack, case)?,
            Running::new(&without, pack, case)?,
        );
        let mut times = [const { Vec::new() }; 3];
        for turn in 0..TURNS + TURNS / 10 {
            let (on, off) = (with.turn()?, without.turn()?);
            if turn >= TURNS / 10 {
                times
                    .iter_mut()
                    .zip([on, off, on / off])
                    .for_each(|(times, time)| times.push(time));
            }
        }
        let [on, off, ratio] = times.map(|mut times: Vec<f64>| {
            times.sort_by(f64::total_cmp);
            times[times.len() / 2]
        });
        println!(
            "{:48} on {on:8.0}  off {off:8.0} ns  {:+5.1} %",
            case.name,
            (ratio - 1.0) * 100.0
        );
    }
    Ok(())
}
