//! Broken safetensors files, each as a folder's `model.safetensors`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::build::{model_folder, safetensors, safetensors_of, write, write_sparse};
use super::{Case, case};

/// A file of one header and 8 bytes of data.
fn with(folder: &Path, header: &str) -> PathBuf {
    model_folder(folder, safetensors(header, &[7; 8]))
}

/// A file of one tensor `t`, whose entry is given, and 8 bytes of data.
fn entry(folder: &Path, entry: &str) -> PathBuf {
    with(folder, &format!(r#"{{"t":{entry}}}"#))
}

fn sparse(folder: &Path, bytes: &[u8]) -> PathBuf {
    model_folder(folder, []);
    write_sparse(folder, "model.safetensors", bytes, 1 << 37);
    folder.to_owned()
}

pub(crate) const CASES: &[&[Case]] = &[HEADER, ENTRIES, OFFSETS, LARGE];

const HEADER: &[Case] = &[
    case("st: empty file", &["the file is empty"], |folder| {
        model_folder(folder, [])
    }),
    case(
        "st: seven bytes",
        &["header length", "needs 8 bytes, 7 are left"],
        |folder| model_folder(folder, [0; 7]),
    ),
    case(
        "st: header length alone",
        &["safetensors header", "needs 2 bytes, 0 are left"],
        |folder| model_folder(folder, 2u64.to_le_bytes()),
    ),
    case(
        "st: header of no bytes",
        &["does not begin with '{'"],
        |folder| model_folder(folder, [0; 8]),
    ),
    case(
        "st: header length 2^63",
        &["header length", "9223372036854775808 bytes; at most"],
        |folder| model_folder(folder, (1u64 << 63).to_le_bytes()),
    ),
    case(
        "st: header length 2^64-1",
        &["header length", "at most 33554432"],
        |folder| model_folder(folder, [0xff; 16]),
    ),
    case(
        "st: header length 2^47",
        &["header length", "at most 33554432"],
        |folder| model_folder(folder, (1u64 << 47).to_le_bytes()),
    ),
    case(
        "st: header one byte too long",
        &["safetensors header", "are left"],
        |folder| {
            let mut file = safetensors_of(&[]);
            file[0] += 1;
            model_folder(folder, file)
        },
    ),
    case(
        "st: header one byte too short",
        &["not valid JSON", "EOF"],
        |folder| {
            let mut file = safetensors_of(&[]);
            file[0] -= 1;
            model_folder(folder, file)
        },
    ),
    case(
        "st: header is a list",
        &["does not begin with '{'"],
        |folder| with(folder, "[]"),
    ),
    case(
        "st: header begins with a space",
        &["does not begin with '{'"],
        |folder| with(folder, " {}"),
    ),
    case(
        "st: header not UTF-8",
        &["safetensors header", "not UTF-8"],
        |folder| model_folder(folder, safetensors(b"{\"\xff\":1}", &[])),
    ),
    case(
        "st: header cut in a string",
        &["not valid JSON", "EOF"],
        |folder| with(folder, r#"{"t"#),
    ),
    case(
        "st: text after the header",
        &["not valid JSON", "trailing characters"],
        |folder| with(folder, "{} {}"),
    ),
    case(
        "st: a lone surrogate",
        &["not valid JSON", "hex escape"],
        |folder| with(folder, r#"{"\ud800":1}"#),
    ),
    case(
        "st: a control character",
        &["not valid JSON", "control character"],
        |folder| with(folder, "{\"a\nb\":1}"),
    ),
    case("st: metadata is a number", &["__metadata__"], |folder| {
        with(folder, r#"{"__metadata__":1}"#)
    }),
    case(
        "st: metadata of numbers",
        &["expected a string"],
        |folder| with(folder, r#"{"__metadata__":{"a":1}}"#),
    ),
    case(
        "st: metadata twice",
        &["'__metadata__' stands twice"],
        |folder| with(folder, r#"{"__metadata__":{},"__metadata__":{}}"#),
    ),
    case(
        "st: a hundred thousand lists in each other",
        &["not valid JSON", "too many values"],
        |folder| with(folder, &format!(r#"{{"t":{}"#, "[".repeat(100_000))),
    ),
    case(
        "st: a hundred thousand objects in each other",
        &["not valid JSON"],
        |folder| with(folder, &r#"{"t":"#.repeat(100_000)),
    ),
];

const ENTRIES: &[Case] = &[
    case(
        "st: tensor is a number",
        &["tensor 't'", "dtype is missing"],
        |folder| entry(folder, "1"),
    ),
    case("st: no dtype", &["dtype is missing"], |folder| {
        entry(folder, r#"{"shape":[8],"data_offsets":[0,8]}"#)
    }),
    case(
        "st: dtype is a number",
        &["dtype is missing or no string"],
        |folder| entry(folder, r#"{"dtype":8,"shape":[8],"data_offsets":[0,8]}"#),
    ),
    case("st: unknown dtype", &["dtype 'F4' is unknown"], |folder| {
        entry(
            folder,
            r#"{"dtype":"F4","shape":[16],"data_offsets":[0,8]}"#,
        )
    }),
    case(
        "st: dtype of a megabyte",
        &["a string of 1000000 bytes; at most 256"],
        |folder| {
            entry(
                folder,
                &format!(
                    r#"{{"dtype":"{}","shape":[8],"data_offsets":[0,8]}}"#,
                    "F".repeat(1_000_000)
                ),
            )
        },
    ),
    case(
        "st: dtype in small letters",
        &["dtype 'f32' is unknown"],
        |folder| {
            entry(
                folder,
                r#"{"dtype":"f32","shape":[2],"data_offsets":[0,8]}"#,
            )
        },
    ),
    case("st: no shape", &["its shape is missing"], |folder| {
        entry(folder, r#"{"dtype":"U8","data_offsets":[0,8]}"#)
    }),
    case(
        "st: shape is a number",
        &["its shape is missing or no list"],
        |folder| entry(folder, r#"{"dtype":"U8","shape":8,"data_offsets":[0,8]}"#),
    ),
    case("st: shape below zero", &["its shape holds -8"], |folder| {
        entry(
            folder,
            r#"{"dtype":"U8","shape":[-8],"data_offsets":[0,8]}"#,
        )
    }),
    case(
        "st: shape of a fraction",
        &["its shape holds 8.0"],
        |folder| {
            entry(
                folder,
                r#"{"dtype":"U8","shape":[8.0],"data_offsets":[0,8]}"#,
            )
        },
    ),
    case("st: shape of text", &["its shape holds \"8\""], |folder| {
        entry(
            folder,
            r#"{"dtype":"U8","shape":["8"],"data_offsets":[0,8]}"#,
        )
    }),
    case(
        "st: shape of 2^64",
        &["its shape holds 1.8446744073709552e+19"],
        |folder| {
            entry(
                folder,
                r#"{"dtype":"U8","shape":[18446744073709551616],"data_offsets":[0,8]}"#,
            )
        },
    ),
    case("st: shape of 1e999", &["number out of range"], |folder| {
        entry(
            folder,
            r#"{"dtype":"U8","shape":[1e999],"data_offsets":[0,8]}"#,
        )
    }),
    case(
        "st: shape of zero",
        &["dimension 1 of shape [8, 0] is zero"],
        |folder| {
            entry(
                folder,
                r#"{"dtype":"U8","shape":[8,0],"data_offsets":[0,0]}"#,
            )
        },
    ),
    case(
        "st: shape that wraps",
        &["more bytes than can be addressed"],
        |folder| {
            entry(
                folder,
                r#"{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,8]}"#,
            )
        },
    ),
    case(
        "st: nine dimensions",
        &["9 dimensions; at most 8"],
        |folder| {
            entry(
                folder,
                r#"{"dtype":"U8","shape":[1,1,1,1,1,1,1,1,8],"data_offsets":[0,8]}"#,
            )
        },
    ),
    case("st: a million dimensions", &["too many values"], |folder| {
        entry(
            folder,
            &format!(
                r#"{{"dtype":"U8","shape":[1{}],"data_offsets":[0,8]}}"#,
                ",1".repeat(1_000_000)
            ),
        )
    }),
    case(
        "st: a key of an entry twice",
        &["the key 'dtype' stands twice"],
        |folder| {
            entry(
                folder,
                r#"{"dtype":"U8","dtype":"F32","shape":[8],"data_offsets":[0,8]}"#,
            )
        },
    ),
    case(
        "st: a tensor twice",
        &["tensor 't'", "stands twice"],
        |folder| {
            with(
                folder,
                r#"{"t":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},"t":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}}"#,
            )
        },
    ),
    case(
        "st: a tensor twice, once escaped",
        &["tensor 't'", "stands twice"],
        |folder| {
            with(
                folder,
                r#"{"t":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"\u0074":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}}"#,
            )
        },
    ),
    case(
        "st: tensor without a name",
        &["tensor name", "empty"],
        |folder| {
            with(
                folder,
                r#"{"":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}}"#,
            )
        },
    ),
    case(
        "st: tensor name of 2 MB",
        &["a string of 2000000 bytes; at most 1024"],
        |folder| {
            with(
                folder,
                &format!(
                    r#"{{"{}":{{"dtype":"U8","shape":[8],"data_offsets":[0,8]}}}}"#,
                    "n".repeat(2_000_000)
                ),
            )
        },
    ),
    case(
        "st: tensor name with an escape sequence",
        &["tensor '\\u{1b}[31m'"],
        |folder| with(folder, r#"{"\u001b[31m":{}}"#),
    ),
];

const OFFSETS: &[Case] = &[
    case(
        "st: no offsets",
        &["its data_offsets is missing"],
        |folder| entry(folder, r#"{"dtype":"U8","shape":[8]}"#),
    ),
    case(
        "st: one offset",
        &["data_offsets has 1 numbers, not 2"],
        |folder| entry(folder, r#"{"dtype":"U8","shape":[8],"data_offsets":[0]}"#),
    ),
    case(
        "st: three offsets",
        &["data_offsets has 3 numbers, not 2"],
        |folder| {
            entry(
                folder,
                r#"{"dtype":"U8","shape":[8],"data_offsets":[0,8,8]}"#,
            )
        },
    ),
    case(
        "st: offsets reversed",
        &["data_offsets [8, 0] lie outside"],
        |folder| entry(folder, r#"{"dtype":"U8","shape":[8],"data_offsets":[8,0]}"#),
    ),
    case(
        "st: offsets past the end",
        &["data_offsets [1, 9] lie outside the 8 bytes"],
        |folder| entry(folder, r#"{"dtype":"U8","shape":[8],"data_offsets":[1,9]}"#),
    ),
    case(
        "st: offsets of 2^64-1",
        &["lie outside the 8 bytes"],
        |folder| {
            entry(
                folder,
                r#"{"dtype":"U8","shape":[8],"data_offsets":[18446744073709551607,18446744073709551615]}"#,
            )
        },
    ),
    case(
        "st: offsets below zero",
        &["its data_offsets holds -1"],
        |folder| {
            entry(
                folder,
                r#"{"dtype":"U8","shape":[8],"data_offsets":[-1,7]}"#,
            )
        },
    ),
    case(
        "st: offsets of another shape",
        &["needs 8 bytes, data_offsets give 4"],
        |folder| entry(folder, r#"{"dtype":"U8","shape":[8],"data_offsets":[0,4]}"#),
    ),
    case("st: tensors on the same bytes", &["overlap"], |folder| {
        with(
            folder,
            r#"{"t":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},"u":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}}"#,
        )
    }),
    case(
        "st: a hole between tensors",
        &["describes 7 bytes of tensors, the file holds 8"],
        |folder| {
            with(
                folder,
                r#"{"t":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"u":{"dtype":"U8","shape":[3],"data_offsets":[5,8]}}"#,
            )
        },
    ),
    case(
        "st: bytes after the tensors",
        &["describes 4 bytes of tensors, the file holds 8"],
        |folder| entry(folder, r#"{"dtype":"U8","shape":[4],"data_offsets":[0,4]}"#),
    ),
    case(
        "st: no tensors but bytes",
        &["describes 0 bytes of tensors, the file holds 8"],
        |folder| with(folder, "{}"),
    ),
];

const LARGE: &[Case] = &[
    case(
        "st: sparse, a header of zeros",
        &["does not begin with '{'"],
        |folder| sparse(folder, &(32u64 << 20).to_le_bytes()),
    ),
    case(
        "st: sparse, bytes of no tensor",
        &["describes 8 bytes"],
        |folder| {
            let file = safetensors_of(&[("t", &[1; 8])]);
            sparse(folder, &file)
        },
    ),
    case(
        "st: metadata of 4 MB with escapes",
        &["describes 0 bytes"],
        |folder| {
            let text = "\\n".repeat(2_000_000);
            with(folder, &format!(r#"{{"__metadata__":{{"a":"{text}"}}}}"#))
        },
    ),
    case(
        "st: two hundred thousand tensors",
        &["tensor description", "36 MiB of memory"],
        |folder| {
            let mut header = String::from("{\"__metadata__\":{}");
            for index in 0..200_000 {
                write!(
                    header,
                    r#","{index}":{{"dtype":"U8","shape":[],"data_offsets":[{index},{}]}}"#,
                    index + 1
                )
                .unwrap();
            }
            header.push('}');
            write(folder, "config.json", "{}");
            write(
                folder,
                "model.safetensors",
                safetensors(&header, &vec![0; 200_000]),
            );
            folder.to_owned()
        },
    ),
    case(
        "st: lists in the place of a tensor",
        &["too many values"],
        |folder| {
            with(
                folder,
                &format!(r#"{{"t":[{}1]}}"#, "[],".repeat(5_000_000)),
            )
        },
    ),
];
