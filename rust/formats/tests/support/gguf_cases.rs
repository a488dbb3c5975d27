//! Broken GGUF files of one part.

use std::path::{Path, PathBuf};

use super::build::{Gguf, Q4_0, Q4_K, array, string, vector, write, write_sparse};
use super::{Case, case};

/// A file cut `left` bytes after its beginning.
fn cut(folder: &Path, left: usize) -> PathBuf {
    write(folder, "x.gguf", &Gguf::honest().bytes()[..left])
}

fn only(folder: &Path, file: &Gguf) -> PathBuf {
    file.write(folder, "x.gguf")
}

/// A file whose one tensor has something wrong.
fn spoiled(folder: &Path, spoil: impl FnOnce(&mut super::build::Tensor)) -> PathBuf {
    only(folder, &Gguf::new().tensor_with(spoil))
}

/// `depth` arrays, each the only element of the one around it.
fn nested(depth: usize) -> Vec<u8> {
    let mut bytes = array(9, 1, &[]).repeat(depth - 1);
    bytes.extend(array(0, 0, &[]));
    bytes
}

pub(crate) const CASES: &[&[Case]] = &[HEADER, VALUES, ARRAYS, TENSORS, PLACES, LARGE];

const HEADER: &[Case] = &[
    case("empty file", &["the file is empty"], |folder| {
        write(folder, "x.gguf", [])
    }),
    case(
        "two bytes",
        &["GGUF magic", "needs 4 bytes, 2 are left"],
        |folder| cut(folder, 2),
    ),
    case("magic alone", &["GGUF version", "at byte 4"], |folder| {
        cut(folder, 4)
    }),
    case(
        "cut in the tensor count",
        &["tensor count", "at byte 8"],
        |folder| cut(folder, 12),
    ),
    case("cut in the metadata count", &["tensor count"], |folder| {
        cut(folder, 20)
    }),
    case(
        "nothing after the counts",
        &["tensor count", "needs 32 bytes, 8 are left"],
        |folder| {
            let file = Gguf {
                tensor_count: Some(1),
                ..Gguf::new()
            };
            write(folder, "x.gguf", &file.bytes()[..24])
        },
    ),
    case(
        "magic of the old format",
        &["GGUF magic", "begins with 'GGUF'"],
        |folder| {
            only(
                folder,
                &Gguf {
                    magic: *b"ggjt",
                    ..Gguf::honest()
                },
            )
        },
    ),
    case(
        "magic of an archive",
        &["GGUF magic", "[80, 75, 3, 4]"],
        |folder| write(folder, "x.gguf", b"PK\x03\x04 and more of it, all zeros"),
    ),
    case("magic reversed", &["GGUF magic"], |folder| {
        only(
            folder,
            &Gguf {
                magic: *b"FUGG",
                ..Gguf::honest()
            },
        )
    }),
    case(
        "version 0",
        &["GGUF version", "0", "versions 2 and 3"],
        |folder| {
            only(
                folder,
                &Gguf {
                    version: 0,
                    ..Gguf::honest()
                },
            )
        },
    ),
    case(
        "version 1",
        &["GGUF version", "1; versions 2 and 3"],
        |folder| {
            only(
                folder,
                &Gguf {
                    version: 1,
                    ..Gguf::honest()
                },
            )
        },
    ),
    case(
        "version 4",
        &["GGUF version", "4; versions 2 and 3"],
        |folder| {
            only(
                folder,
                &Gguf {
                    version: 4,
                    ..Gguf::honest()
                },
            )
        },
    ),
    case("big-endian", &["a big-endian file?"], |folder| {
        only(
            folder,
            &Gguf {
                version: 3u32.swap_bytes(),
                ..Gguf::honest()
            },
        )
    }),
    case("2^64-1 tensors", &["tensor count", "at byte 8"], |folder| {
        only(
            folder,
            &Gguf {
                tensor_count: Some(u64::MAX),
                ..Gguf::honest()
            },
        )
    }),
    case("tensors times 32 wrap to 0", &["tensor count"], |folder| {
        only(
            folder,
            &Gguf {
                tensor_count: Some(1 << 59),
                ..Gguf::honest()
            },
        )
    }),
    case(
        "2^63 key-values",
        &["metadata count", "at byte 16"],
        |folder| {
            only(
                folder,
                &Gguf {
                    value_count: Some(1 << 63),
                    ..Gguf::honest()
                },
            )
        },
    ),
    case(
        "one tensor more than there are",
        &["tensor name", "empty"],
        |folder| {
            only(
                folder,
                &Gguf {
                    tensor_count: Some(3),
                    ..Gguf::honest()
                },
            )
        },
    ),
    case(
        "one key-value more than there are",
        &["tensor name", "empty"],
        |folder| {
            only(
                folder,
                &Gguf {
                    value_count: Some(5),
                    ..Gguf::honest()
                },
            )
        },
    ),
    case(
        "one key-value fewer than there are",
        &["tensor"],
        |folder| {
            only(
                folder,
                &Gguf {
                    value_count: Some(3),
                    ..Gguf::honest()
                },
            )
        },
    ),
];

const VALUES: &[Case] = &[
    case(
        "cut in a key",
        &["metadata key", "needs 20 bytes"],
        |folder| {
            write(
                folder,
                "x.gguf",
                &Gguf {
                    value_count: Some(1),
                    tensor_count: Some(0),
                    ..Gguf::honest()
                }
                .bytes()[..44],
            )
        },
    ),
    case("cut in a value", &["tensor count"], |folder| {
        cut(folder, 75)
    }),
    case(
        "key of 2^64-1 bytes",
        &["metadata key", "needs 18446744073709551615 bytes"],
        |folder| only(folder, &Gguf::new().raw_value(&[0xff; 40])),
    ),
    case(
        "key of 70000 bytes",
        &["metadata key", "at most 65535"],
        |folder| only(folder, &Gguf::new().text(&"k".repeat(70_000), "")),
    ),
    case("empty key", &["metadata key", "empty"], |folder| {
        only(folder, &Gguf::new().text("", "x"))
    }),
    case("key not UTF-8", &["metadata key", "not UTF-8"], |folder| {
        only(
            folder,
            &Gguf::new().raw_value(&[string([0xc3, 0x28]), vec![0; 16]].concat()),
        )
    }),
    case(
        "key with an escape sequence",
        &["metadata '\\u{1b}[2J'", "value type 99"],
        |folder| {
            only(
                folder,
                &Gguf::new()
                    .value("\x1b[2J", 99, [])
                    .value("more", 4, [0; 4]),
            )
        },
    ),
    case("key twice", &["metadata 'k'", "stands twice"], |folder| {
        only(folder, &Gguf::new().text("k", "one").text("k", "two"))
    }),
    case(
        "value type 13",
        &["metadata 'k'", "value type 13; 0 to 12"],
        |folder| only(folder, &Gguf::new().value("k", 13, [0; 8])),
    ),
    case("value type 2^32-1", &["value type 4294967295"], |folder| {
        only(folder, &Gguf::new().value("k", u32::MAX, [0; 8]))
    }),
    case(
        "string longer than the file",
        &["metadata 'k'", "needs 1099511627776 bytes"],
        |folder| {
            only(
                folder,
                &Gguf::new().value("k", 8, (1u64 << 40).to_le_bytes()),
            )
        },
    ),
    case(
        "string not UTF-8",
        &["metadata 'k'", "not UTF-8"],
        |folder| only(folder, &Gguf::new().value("k", 8, string([b'a', 0xff]))),
    ),
    case("string of a surrogate", &["not UTF-8"], |folder| {
        only(
            folder,
            &Gguf::new().value("k", 8, string([0xed, 0xa0, 0x80])),
        )
    }),
    case(
        "truth value 2",
        &["metadata 'k'", "2 as a truth value"],
        |folder| only(folder, &Gguf::new().value("k", 7, [2]).text("l", "")),
    ),
    case(
        "alignment 0",
        &["general.alignment", "0; a power of two"],
        |folder| {
            only(
                folder,
                &Gguf::honest().value("general.alignment", 4, 0u32.to_le_bytes()),
            )
        },
    ),
    case(
        "alignment 3",
        &["general.alignment", "3; a power of two"],
        |folder| {
            only(
                folder,
                &Gguf::honest().value("general.alignment", 4, 3u32.to_le_bytes()),
            )
        },
    ),
    case(
        "alignment 2^31",
        &["general.alignment", "2147483648"],
        |folder| {
            only(
                folder,
                &Gguf::honest().value("general.alignment", 4, (1u32 << 31).to_le_bytes()),
            )
        },
    ),
    case(
        "alignment 2^63",
        &["general.alignment", "9223372036854775808"],
        |folder| {
            only(
                folder,
                &Gguf::honest().value("general.alignment", 10, (1u64 << 63).to_le_bytes()),
            )
        },
    ),
    case("alignment below zero", &["general.alignment"], |folder| {
        only(
            folder,
            &Gguf::honest().value("general.alignment", 5, (-32i32).to_le_bytes()),
        )
    }),
    case(
        "alignment as text",
        &["general.alignment", "a power of two"],
        |folder| only(folder, &Gguf::honest().text("general.alignment", "32")),
    ),
];

const ARRAYS: &[Case] = &[
    case(
        "array of type 13",
        &["metadata 'k'", "value type 13"],
        |folder| only(folder, &Gguf::new().value("k", 9, array(13, 1, &[0; 8]))),
    ),
    case(
        "array of 2^64-1 bytes",
        &["metadata 'k'", "needs 18446744073709551615"],
        |folder| {
            only(
                folder,
                &Gguf::new().value("k", 9, array(0, u64::MAX, &[0; 8])),
            )
        },
    ),
    case(
        "array whose bytes wrap to 0",
        &["metadata 'k'", "needs 18446744073709551615"],
        |folder| {
            only(
                folder,
                &Gguf::new().value("k", 9, array(10, 1 << 61, &[0; 8])),
            )
        },
    ),
    case(
        "array of one too many",
        &["metadata 'k'", "needs 12 bytes, 8 are left"],
        |folder| {
            let file = Gguf::new().value("k", 9, array(4, 3, &[0; 8]));
            write(folder, "x.gguf", file.header())
        },
    ),
    case(
        "array of strings that lie",
        &["metadata 'k'", "needs 4294967296 bytes"],
        |folder| {
            only(
                folder,
                &Gguf::new().value(
                    "k",
                    9,
                    array(
                        8,
                        2,
                        &[string("ok"), (1u64 << 32).to_le_bytes().to_vec()].concat(),
                    ),
                ),
            )
        },
    ),
    case(
        "array of strings not UTF-8",
        &["metadata 'k'", "not UTF-8"],
        |folder| {
            only(
                folder,
                &Gguf::new().value("k", 9, array(8, 1, &string([0xfe]))),
            )
        },
    ),
    case(
        "array with a truth value 7",
        &["7 as a truth value"],
        |folder| only(folder, &Gguf::new().value("k", 9, array(7, 3, &[0, 1, 7]))),
    ),
    case(
        "array with an integer of 64 bits",
        &["beyond 63 bits"],
        |folder| only(folder, &Gguf::new().value("k", 9, array(10, 1, &[0xff; 8]))),
    ),
    case(
        "array without its count",
        &["metadata 'k'", "needs 8 bytes"],
        |folder| {
            write(
                folder,
                "x.gguf",
                Gguf::new().value("k", 9, 4u32.to_le_bytes()).header(),
            )
        },
    ),
    case(
        "five arrays in each other",
        &["nested deeper than 4"],
        |folder| only(folder, &Gguf::new().value("k", 9, nested(5))),
    ),
    case(
        "a million arrays in each other",
        &["nested deeper than 4"],
        |folder| only(folder, &Gguf::new().value("k", 9, nested(1_000_000))),
    ),
    case(
        "half a million arrays beside each other",
        &["tensor name", "empty"],
        |folder| {
            let body = array(9, 500_000, &array(0, 0, &[]).repeat(500_000));
            let file = Gguf {
                tensor_count: Some(1),
                ..Gguf::new().value("k", 9, body)
            };
            write(folder, "x.gguf", [file.header(), vec![0; 64]].concat())
        },
    ),
    case(
        "a million arrays beside each other",
        &["metadata 'k'", "48 MiB of memory"],
        |folder| {
            only(
                folder,
                &Gguf::new().value(
                    "k",
                    9,
                    array(9, 1_000_000, &array(0, 0, &[]).repeat(1_000_000)),
                ),
            )
        },
    ),
];

const TENSORS: &[Case] = &[
    case(
        "tensor without a name",
        &["tensor name", "empty"],
        |folder| spoiled(folder, |tensor| tensor.name.clear()),
    ),
    case(
        "tensor name not UTF-8",
        &["tensor name", "not UTF-8"],
        |folder| spoiled(folder, |tensor| tensor.name = vec![b'a', 0x80]),
    ),
    case(
        "tensor name of 1025 bytes",
        &["tensor name", "at most 1024"],
        |folder| spoiled(folder, |tensor| tensor.name = vec![b'n'; 1025]),
    ),
    case(
        "tensor name with an escape sequence",
        &["tensor '\\u{1b}]0;x\\u{7}'"],
        |folder| {
            spoiled(folder, |tensor| {
                tensor.name = b"\x1b]0;x\x07".to_vec();
                tensor.kind = 99;
            })
        },
    ),
    case(
        "tensor name twice",
        &["tensor 'same'", "stands twice"],
        |folder| {
            only(
                folder,
                &Gguf::new()
                    .tensor(vector("same", 8, 0))
                    .tensor(vector("same", 8, 1)),
            )
        },
    ),
    case(
        "no dimensions",
        &["tensor 'spoiled'", "0 dimensions; 1 to 4"],
        |folder| spoiled(folder, |tensor| tensor.dimensions.clear()),
    ),
    case("five dimensions", &["5 dimensions; 1 to 4"], |folder| {
        spoiled(folder, |tensor| tensor.dimensions = vec![1; 5])
    }),
    case("2^32-1 dimensions", &["4294967295 dimensions"], |folder| {
        spoiled(folder, |tensor| tensor.dimension_count = Some(u32::MAX))
    }),
    case(
        "a dimension of zero",
        &["dimension 0 of shape [0, 4] is zero"],
        |folder| spoiled(folder, |tensor| tensor.dimensions = vec![4, 0]),
    ),
    case(
        "a dimension of 2^64-1",
        &["tensor 'spoiled'", "more bytes than can be addressed"],
        |folder| spoiled(folder, |tensor| tensor.dimensions = vec![u64::MAX]),
    ),
    case(
        "dimensions whose product wraps to 0",
        &["more bytes than can be addressed"],
        |folder| spoiled(folder, |tensor| tensor.dimensions = vec![1 << 32, 1 << 32]),
    ),
    case(
        "dimensions whose product wraps to the truth",
        &["more bytes than can be addressed"],
        |folder| {
            // 64 = (2^64 + 64) mod 2^64 = 2^6 * (2^58 + 1): the first fix of CVE-2025-53630 fell for such.
            spoiled(folder, |tensor| tensor.dimensions = vec![64, (1 << 58) + 1])
        },
    ),
    case(
        "bytes that wrap though elements do not",
        &["more bytes than can be addressed"],
        |folder| spoiled(folder, |tensor| tensor.dimensions = vec![1 << 62]),
    ),
    case(
        "bytes beyond signed integers",
        &["more bytes than can be addressed"],
        |folder| spoiled(folder, |tensor| tensor.dimensions = vec![1 << 61]),
    ),
    case(
        "unknown tensor type",
        &["tensor 'spoiled'", "tensor type 99 is unknown"],
        |folder| spoiled(folder, |tensor| tensor.kind = 99),
    ),
    case(
        "a removed tensor type",
        &["tensor type 4 is unknown"],
        |folder| spoiled(folder, |tensor| tensor.kind = 4),
    ),
    case(
        "a type that only safetensors has",
        &["tensor type 1004 is unknown"],
        |folder| spoiled(folder, |tensor| tensor.kind = 1004),
    ),
    case(
        "rows of part of a block",
        &["rows of 31 values", "Q4_0 blocks of 32"],
        |folder| {
            spoiled(folder, |tensor| {
                (tensor.kind, tensor.dimensions) = (Q4_0, vec![31, 32]);
            })
        },
    ),
    case(
        "rows of part of a super-block",
        &["rows of 64 values", "Q4_K blocks of 256"],
        |folder| {
            spoiled(folder, |tensor| {
                (tensor.kind, tensor.dimensions) = (Q4_K, vec![64, 4]);
            })
        },
    ),
    case(
        "cut in a tensor's name",
        &["tensor name", "needs 100 bytes"],
        |folder| {
            write(
                folder,
                "x.gguf",
                [
                    Gguf {
                        tensor_count: Some(1),
                        ..Gguf::new()
                    }
                    .header(),
                    [&100u64.to_le_bytes()[..], &[b'n'; 60]].concat(),
                ]
                .concat(),
            )
        },
    ),
    case("cut in a tensor's dimensions", &["dimension"], |folder| {
        let file = Gguf::new().tensor(vector("a name that is quite long", 8, 0));
        write(folder, "x.gguf", &file.header()[..65])
    }),
    case("cut before a tensor's type", &["tensor type"], |folder| {
        let header = Gguf::new()
            .tensor(vector("x", 8, 0))
            .tensor(vector("another name", 8, 0))
            .header();
        write(folder, "x.gguf", &header[..header.len() - 12])
    }),
    case(
        "cut before a tensor's offset",
        &["tensor offset"],
        |folder| {
            let header = Gguf::new()
                .tensor(vector("x", 8, 0))
                .tensor(vector("another name", 8, 0))
                .header();
            write(folder, "x.gguf", &header[..header.len() - 8])
        },
    ),
];

const PLACES: &[Case] = &[
    case(
        "no bytes of tensors",
        &["tensor 'first.weight'", "lie outside the file"],
        |folder| write(folder, "x.gguf", Gguf::honest().header()),
    ),
    case(
        "one byte of the last tensor missing",
        &["tensor 'spoiled'", "lie outside the file"],
        |folder| {
            let bytes = Gguf::new().tensor_with(|_| ()).bytes();
            write(folder, "x.gguf", &bytes[..bytes.len() - 1])
        },
    ),
    case(
        "more rows than there are bytes",
        &["tensor 'spoiled'", "lie outside the file"],
        |folder| spoiled(folder, |tensor| tensor.dimensions = vec![64, 4096]),
    ),
    case(
        "an offset that is not aligned",
        &["offset 4 is not a multiple of the alignment 32"],
        |folder| spoiled(folder, |tensor| tensor.offset = Some(4)),
    ),
    case(
        "an offset past the end",
        &["lie outside the file"],
        |folder| spoiled(folder, |tensor| tensor.offset = Some(1 << 40)),
    ),
    case(
        "an offset that wraps with the data's",
        &["lie outside the file"],
        |folder| spoiled(folder, |tensor| tensor.offset = Some(u64::MAX - 31)),
    ),
    case(
        "an offset that wraps with the length",
        &["lie outside the file"],
        |folder| {
            spoiled(folder, |tensor| {
                tensor.offset = Some(0u64.wrapping_sub(256));
            })
        },
    ),
    case("an offset of 2^63", &["lie outside the file"], |folder| {
        spoiled(folder, |tensor| tensor.offset = Some(1 << 63))
    }),
    case(
        "two tensors on the same bytes",
        &["overlap those of tensor 'spoiled'"],
        |folder| {
            let mut second = vector("second", 8, 0);
            second.offset = Some(0);
            only(folder, &Gguf::new().tensor_with(|_| ()).tensor(second))
        },
    ),
    case(
        "a tensor that ends inside the next",
        &["overlap those of tensor 'spoiled'"],
        |folder| {
            let mut second = vector("second", 8, 0);
            second.offset = Some(224);
            only(folder, &Gguf::new().tensor_with(|_| ()).tensor(second))
        },
    ),
];

/// Files that are terabytes long and take no room: a true count protects from nothing.
const LARGE: &[Case] = &[
    case(
        "sparse: 2^36 numbers",
        &["metadata 'k'", "48 MiB of memory"],
        |folder| {
            let header = Gguf::new().value("k", 9, array(0, 1 << 36, &[])).header();
            write_sparse(folder, "x.gguf", &header, 1 << 37)
        },
    ),
    case(
        "sparse: 2^33 empty strings",
        &["metadata 'k'", "48 MiB of memory"],
        |folder| {
            let header = Gguf::new().value("k", 9, array(8, 1 << 33, &[])).header();
            write_sparse(folder, "x.gguf", &header, 1 << 37)
        },
    ),
    case(
        "sparse: one string of 2^36 bytes",
        &["metadata 'k'", "at most"],
        |folder| {
            let header = Gguf::new()
                .value("k", 8, (1u64 << 36).to_le_bytes())
                .header();
            write_sparse(folder, "x.gguf", &header, 1 << 37)
        },
    ),
    case(
        "sparse: strings of 2^36 bytes in an array",
        &["metadata 'k'", "48 MiB of memory"],
        |folder| {
            let header = Gguf::new()
                .value("k", 9, array(8, 1, &(1u64 << 36).to_le_bytes()))
                .header();
            write_sparse(folder, "x.gguf", &header, 1 << 37)
        },
    ),
    case(
        "sparse: 2^30 arrays in an array",
        &["metadata 'k'", "48 MiB of memory"],
        |folder| {
            let header = Gguf::new().value("k", 9, array(9, 1 << 30, &[])).header();
            write_sparse(folder, "x.gguf", &header, 1 << 37)
        },
    ),
    case(
        "sparse: 2^30 tensors",
        &["tensor name", "empty"],
        |folder| {
            let header = Gguf {
                tensor_count: Some(1 << 30),
                ..Gguf::new()
            }
            .header();
            write_sparse(folder, "x.gguf", &header, 1 << 37)
        },
    ),
    case("half a million keys", &["48 MiB of memory"], |folder| {
        let mut file = Gguf::new();
        for key in 0..500_000 {
            file = file.value(&format!("{key:06}"), 0, [1]);
        }
        only(folder, &file)
    }),
    case(
        "two hundred thousand tensors",
        &["tensor description", "36 MiB of memory"],
        |folder| {
            let mut file = Gguf::new();
            for index in 0..200_000 {
                file.tensors.push(vector(&format!("{index:06}"), 1, 0));
            }
            only(folder, &file)
        },
    ),
    case(
        "both budgets used up",
        &["tensor description", "36 MiB of memory"],
        |folder| {
            let mut file = Gguf::new().value("k", 9, array(1, 6_200_000, &vec![1; 6_200_000]));
            for index in 0..200_000 {
                file.tensors.push(vector(&format!("{index:06}"), 1, 0));
            }
            only(folder, &file)
        },
    ),
];
