//! What is wrong around the files: paths, splits, shards and configurations.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::build::{Gguf, array, model_folder, safetensors_of, vector, write, write_sparse};
use super::{Case, case};

const INDEX: &str = "model.safetensors.index.json";

fn pipe(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// A part, of one tensor, of a model that says to have three.
fn part(folder: &Path, number: u16, says: u16) -> PathBuf {
    let name = format!("m-{number:05}-of-00003.gguf");
    Gguf::new()
        .split(says, 3, 3)
        .tensor(vector(&format!("tensor.{number}"), 8, number as u8))
        .write(folder, &name)
}

/// A folder whose configuration has these bytes.
fn config(folder: &Path, bytes: impl AsRef<[u8]>) -> PathBuf {
    model_folder(folder, safetensors_of(&[("t", &[1, 2])]));
    write(folder, "config.json", bytes);
    folder.to_owned()
}

/// A folder of an index and one shard, `a.safetensors`.
fn index(folder: &Path, bytes: impl AsRef<[u8]>) -> PathBuf {
    write(folder, "config.json", "{}");
    write(folder, "a.safetensors", safetensors_of(&[("t", &[1, 2])]));
    write(folder, INDEX, bytes);
    folder.to_owned()
}

fn shard(folder: &Path, name: &str) -> PathBuf {
    index(folder, format!(r#"{{"weight_map":{{"t":"{name}"}}}}"#))
}

pub(crate) const CASES: &[&[Case]] = &[PATHS, SPLITS, CONFIGURATIONS, INDEXES];

const PATHS: &[Case] = &[
    case("no such file", &["cannot open", "No such file"], |folder| {
        folder.join("x.gguf")
    }),
    case(
        "a path through a file",
        &["cannot open", "Not a directory"],
        |folder| write(folder, "x", "x").join("y.gguf"),
    ),
    case("a path with a zero byte", &["cannot open"], |folder| {
        folder.join("x\0.gguf")
    }),
    case("a link to itself", &["cannot open"], |folder| {
        symlink("x.gguf", folder.join("x.gguf")).unwrap();
        folder.join("x.gguf")
    }),
    case(
        "an empty folder",
        &["holds neither a .gguf file nor config.json"],
        Path::to_owned,
    ),
    case("a folder called x.gguf", &["holds neither"], |folder| {
        fs::create_dir(folder.join("x.gguf")).unwrap();
        folder.join("x.gguf")
    }),
    case(
        "a folder of a folder called x.gguf",
        &["not a regular file"],
        |folder| {
            fs::create_dir(folder.join("x.gguf")).unwrap();
            folder.to_owned()
        },
    ),
    case(
        "a folder of two models",
        &["holds several models", "a.gguf", "b.gguf"],
        |folder| {
            Gguf::honest().write(folder, "a.gguf");
            Gguf::honest().write(folder, "b.gguf");
            folder.to_owned()
        },
    ),
    case(
        "a folder of a thousand models",
        &["holds several models", "and more"],
        |folder| {
            (0..1000).for_each(|index| drop(write(folder, &format!("{index}.gguf"), [])));
            folder.to_owned()
        },
    ),
    case("a pipe called x.gguf", &["not a regular file"], |folder| {
        pipe(&folder.join("x.gguf"));
        folder.join("x.gguf")
    }),
    case(
        "a folder with a pipe for its file",
        &["not a regular file"],
        |folder| {
            model_folder(folder, []);
            fs::remove_file(folder.join("model.safetensors")).unwrap();
            pipe(&folder.join("model.safetensors"));
            folder.to_owned()
        },
    ),
    case(
        "a folder with a pipe for its configuration",
        &["not a regular file"],
        |folder| {
            model_folder(folder, safetensors_of(&[]));
            fs::remove_file(folder.join("config.json")).unwrap();
            pipe(&folder.join("config.json"));
            folder.to_owned()
        },
    ),
    case("a device", &["not a regular file"], |folder| {
        symlink("/dev/zero", folder.join("x.gguf")).unwrap();
        folder.join("x.gguf")
    }),
    case("a file of the kernel", &["the file is empty"], |folder| {
        symlink("/proc/self/maps", folder.join("x.gguf")).unwrap();
        folder.join("x.gguf")
    }),
];

const SPLITS: &[Case] = &[
    case(
        "split: a part missing",
        &["m-00002-of-00003.gguf", "No such file"],
        |folder| {
            part(folder, 3, 2);
            part(folder, 1, 0)
        },
    ),
    case(
        "split: opened at its second part",
        &["it says that it is part 2 of 3", "part 1 of 3 is expected"],
        |folder| {
            part(folder, 1, 0);
            part(folder, 3, 2);
            part(folder, 2, 1)
        },
    ),
    case(
        "split: a folder without the first part",
        &["holds neither"],
        |folder| {
            part(folder, 2, 1);
            folder.to_owned()
        },
    ),
    case(
        "split: under another name",
        &["it is a split of 3 files; name the first"],
        |folder| {
            let path = part(folder, 1, 0);
            fs::rename(&path, folder.join("x.gguf")).unwrap();
            folder.join("x.gguf")
        },
    ),
    case(
        "split: the first part again",
        &["it says that it is part 1 of 3", "part 2 of 3 is expected"],
        |folder| {
            let first = part(folder, 1, 0);
            symlink(&first, folder.join("m-00002-of-00003.gguf")).unwrap();
            first
        },
    ),
    case(
        "split: a tensor in two parts",
        &["tensor 'tensor.2'", "stands in two files", "00003-of-00003"],
        |folder| {
            part(folder, 2, 1);
            Gguf::new()
                .split(2, 3, 3)
                .tensor(vector("tensor.2", 8, 0))
                .write(folder, "m-00003-of-00003.gguf");
            part(folder, 1, 0)
        },
    ),
    case(
        "split: parts of another count",
        &["it says that it is part 2 of 4"],
        |folder| {
            Gguf::new()
                .split(1, 4, 3)
                .write(folder, "m-00002-of-00003.gguf");
            part(folder, 1, 0)
        },
    ),
    case(
        "split: a part that says nothing",
        &["it says that it is part 1 of 1"],
        |folder| {
            Gguf::honest().write(folder, "m-00002-of-00003.gguf");
            part(folder, 1, 0)
        },
    ),
    case(
        "split: fewer tensors than announced",
        &["hold 3 tensors, split.tensors.count says 4"],
        |folder| {
            part(folder, 2, 1);
            part(folder, 3, 2);
            Gguf::new()
                .split(0, 3, 4)
                .tensor(vector("a", 8, 0))
                .write(folder, "m-00001-of-00003.gguf")
        },
    ),
    case(
        "split: 65535 parts",
        &["it is a split of 65535 files", "at most 1000"],
        |folder| {
            Gguf::new()
                .split(0, 65_535, 1)
                .write(folder, "m-00001-of-65535.gguf")
        },
    ),
    case(
        "split: a count of text",
        &["split.count is no integer"],
        |folder| Gguf::new().text("split.count", "3").write(folder, "x.gguf"),
    ),
    case(
        "split: a count of 2^40",
        &["split.count is no integer from 0 to 4294967295"],
        |folder| {
            Gguf::new()
                .value("split.count", 10, (1u64 << 40).to_le_bytes())
                .write(folder, "x.gguf")
        },
    ),
    case(
        "split: a number below zero",
        &["split.no is no integer"],
        |folder| {
            Gguf::new()
                .value("split.no", 5, (-1i32).to_le_bytes())
                .write(folder, "x.gguf")
        },
    ),
    case("split: a broken part", &["GGUF magic"], |folder| {
        write(folder, "m-00002-of-00003.gguf", "nothing of the kind");
        part(folder, 1, 0)
    }),
    case(
        "split: tensors of all parts are too many",
        &["tensor description", "36 MiB of memory"],
        |folder| {
            for number in 0..3u16 {
                let mut file = Gguf::new().split(number, 3, 180_000);
                for index in 0..60_000 {
                    let name = format!("{number}.{index}");
                    file.tensors.push(vector(&name, 1, 0));
                }
                file.write(folder, &format!("m-{:05}-of-00003.gguf", number + 1));
            }
            folder.to_owned()
        },
    ),
    case(
        "split: a thousand sparse parts",
        &["metadata 'k'", "48 MiB of memory"],
        |folder| {
            for number in 0..1000u16 {
                let name = format!("m-{:05}-of-01000.gguf", number + 1);
                let zeros = array(7, 20 << 20, &[]);
                let header = Gguf::new()
                    .split(number, 1000, 0)
                    .value("k", 9, zeros)
                    .header();
                write_sparse(folder, &name, &header, 1 << 30);
            }
            folder.to_owned()
        },
    ),
];

const CONFIGURATIONS: &[Case] = &[
    case(
        "config: missing",
        &["config.json", "No such file"],
        |folder| write(folder, "x.safetensors", safetensors_of(&[])),
    ),
    case(
        "config: empty",
        &["config.json", "not valid JSON", "EOF"],
        |folder| config(folder, ""),
    ),
    case("config: cut", &["not valid JSON", "EOF"], |folder| {
        config(folder, r#"{"model_type":"#)
    }),
    case("config: a list", &["not a JSON object"], |folder| {
        config(folder, "[1, 2]")
    }),
    case("config: a number", &["not a JSON object"], |folder| {
        config(folder, "17")
    }),
    case(
        "config: a key twice",
        &["the key 'hidden_size' stands twice"],
        |folder| config(folder, r#"{"hidden_size":1,"hidden_size":2}"#),
    ),
    case(
        "config: an inner key twice",
        &["the key 'a' stands twice"],
        |folder| config(folder, r#"{"x":[{"a":1,"\u0061":2}]}"#),
    ),
    case("config: not UTF-8", &["not valid JSON"], |folder| {
        config(folder, b"{\"a\":\"\xff\"}")
    }),
    case("config: not a number", &["not valid JSON"], |folder| {
        config(folder, r#"{"a":NaN}"#)
    }),
    case("config: 1e400", &["number out of range"], |folder| {
        config(folder, r#"{"a":1e400}"#)
    }),
    case(
        "config: text after it",
        &["trailing characters"],
        |folder| config(folder, "{}{}"),
    ),
    case(
        "config: a million lists in each other",
        &["recursion limit"],
        |folder| config(folder, format!(r#"{{"a":{}"#, "[".repeat(1_000_000))),
    ),
    case("config: a million values", &["too many values"], |folder| {
        config(folder, format!(r#"{{"a":[{}1]}}"#, "1,".repeat(1_000_000)))
    }),
    case("config: five megabytes", &["at most 4194304"], |folder| {
        config(folder, " ".repeat(5_000_000))
    }),
    case("config: sparse", &["at most 4194304"], |folder| {
        config(folder, "{}");
        write_sparse(folder, "config.json", b"{}", 1 << 37);
        folder.to_owned()
    }),
    case("config: a folder", &["not a regular file"], |folder| {
        config(folder, "{}");
        fs::remove_file(folder.join("config.json")).unwrap();
        fs::create_dir(folder.join("config.json")).unwrap();
        folder.to_owned()
    }),
    case(
        "config: a link to nothing",
        &["config.json", "No such file"],
        |folder| {
            config(folder, "{}");
            fs::remove_file(folder.join("config.json")).unwrap();
            symlink("nowhere", folder.join("config.json")).unwrap();
            folder.to_owned()
        },
    ),
    case(
        "config: a key of a megabyte twice",
        &["the key 'kkkkkkkk", "…' stands twice"],
        |folder| {
            let key = "k".repeat(1_000_000);
            config(folder, format!(r#"{{"{key}":1,"{key}":2}}"#))
        },
    ),
    case(
        "generation_config: broken",
        &["generation_config.json", "not valid JSON"],
        |folder| {
            write(folder, "generation_config.json", "{");
            config(folder, "{}")
        },
    ),
    case(
        "generation_config: a pipe",
        &["generation_config.json", "not a regular file"],
        |folder| {
            pipe(&folder.join("generation_config.json"));
            config(folder, "{}")
        },
    ),
];

const INDEXES: &[Case] = &[
    case(
        "index: no weight_map",
        &["'weight_map' is missing"],
        |folder| index(folder, "{}"),
    ),
    case("index: a list", &["invalid type", "weight_map"], |folder| {
        index(folder, "[]")
    }),
    case(
        "index: weight_map is a list",
        &["'weight_map' of file names"],
        |folder| index(folder, r#"{"weight_map":[]}"#),
    ),
    case(
        "index: weight_map is empty",
        &["names no files"],
        |folder| index(folder, r#"{"weight_map":{}}"#),
    ),
    case(
        "index: weight_map twice",
        &["'weight_map' stands twice"],
        |folder| index(folder, r#"{"weight_map":{},"weight_map":{}}"#),
    ),
    case(
        "index: a name that is a number",
        &["expected a string"],
        |folder| index(folder, r#"{"weight_map":{"t":1}}"#),
    ),
    case(
        "index: a shard missing",
        &["b.safetensors", "No such file"],
        |folder| shard(folder, "b.safetensors"),
    ),
    case(
        "index: another folder",
        &["'../a.safetensors'", "no plain .safetensors name"],
        |folder| shard(folder, "../a.safetensors"),
    ),
    case(
        "index: an absolute path",
        &["no plain .safetensors name"],
        |folder| shard(folder, "/a.safetensors"),
    ),
    case(
        "index: a Windows path",
        &["no plain .safetensors name"],
        |folder| shard(folder, r"..\\a.safetensors"),
    ),
    case(
        "index: a drive",
        &["no plain .safetensors name"],
        |folder| shard(folder, "C:a.safetensors"),
    ),
    case(
        "index: a zero byte",
        &["no plain .safetensors name"],
        |folder| shard(folder, r"a\u0000.safetensors"),
    ),
    case(
        "index: a hidden file",
        &["no plain .safetensors name"],
        |folder| shard(folder, ".a.safetensors"),
    ),
    case(
        "index: another kind of file",
        &["'a.bin'", "no plain .safetensors name"],
        |folder| shard(folder, "a.bin"),
    ),
    case(
        "index: an empty name",
        &["''", "no plain .safetensors name"],
        |folder| shard(folder, ""),
    ),
    case(
        "index: a name of a megabyte",
        &["a string of", "at most 255"],
        |folder| shard(folder, &"n".repeat(1_000_000)),
    ),
    case(
        "index: two thousand files",
        &["more than 1000 files"],
        |folder| {
            let names: Vec<String> = (0..2000)
                .map(|file| format!(r#""{file}":"{file}.safetensors""#))
                .collect();
            index(
                folder,
                format!(r#"{{"weight_map":{{{}}}}}"#, names.join(",")),
            )
        },
    ),
    case("index: cut", &["EOF"], |folder| {
        index(folder, r#"{"weight_map":{"t":"a.safe"#)
    }),
    case("index: empty", &["the file is empty"], |folder| {
        index(folder, "")
    }),
    case("index: sparse", &["at most 33554432"], |folder| {
        index(folder, "{");
        write_sparse(folder, INDEX, b"{", 1 << 37);
        folder.to_owned()
    }),
    case(
        "index: metadata of a million values",
        &["too many values"],
        |folder| {
            index(
                folder,
                format!(r#"{{"metadata":[{}1]}}"#, "1,".repeat(1_000_000)),
            )
        },
    ),
    case(
        "index: a tensor in two shards",
        &["tensor 't'", "stands in two files"],
        |folder| {
            write(folder, "b.safetensors", safetensors_of(&[("t", &[3])]));
            index(
                folder,
                r#"{"weight_map":{"t":"a.safetensors","u":"b.safetensors"}}"#,
            )
        },
    ),
];
