//! Puts the player of adaptive content into the program, with its licences, where it is there: `npm ci` in `player` brings
//! it. Without it the program is built all the same, and its pages say what they cannot play.

use std::{
    env,
    fmt::Write as _,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use flate2::{Compression, write::GzEncoder};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=player");
    let packages = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default()).join("player/node_modules");
    let dist = packages.join("dashjs/dist/modern/esm");
    let (script, inside) = (dist.join("dash.mediaplayer.min.js"), dist.join("dash.mediaplayer.min.js.LICENSE.txt"));
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    let mut code = String::new();
    if script.is_file() {
        let packed = out.join("dash.js.gz");
        pack(&script, &packed);
        _ = writeln!(code, "pub(super) const SCRIPT: Option<&str> = Some(include_str!({script:?}));");
        _ = writeln!(code, "pub(super) const PACKED: &[u8] = include_bytes!({packed:?});");
        let mut licences: Vec<_> = list(&packages).iter().flat_map(|package| licence(package)).collect();
        licences.sort();
        licences.extend(fs::read_to_string(inside).map(|text| ("What else is in it".to_owned(), text)));
        _ = writeln!(code, "pub(super) const LICENCES: &[(&str, &str)] = &{licences:?};");
    } else {
        println!("cargo::warning=without dash.js: run npm ci in examples/player to have it in the Portal's pages");
        code += "pub(super) const SCRIPT: Option<&str> = None;\npub(super) const PACKED: &[u8] = &[];\n";
        code += "pub(super) const LICENCES: &[(&str, &str)] = &[];\n";
    }
    let out = out.join("player.rs");
    fs::write(&out, code).unwrap_or_else(|error| panic!("{}: {error}", out.display()));
}

/// Makes a quarter of it, once for all who fetch it.
fn pack(script: &Path, packed: &Path) {
    let packing = || {
        let mut encoder = GzEncoder::new(fs::File::create(packed)?, Compression::best());
        encoder.write_all(&fs::read(script)?)?;
        encoder.finish()
    };
    _ = packing().unwrap_or_else(|error| panic!("{}: {error}", packed.display()));
}

/// The packages in a directory of packages, those of organisations among them.
fn list(dir: &Path) -> Vec<PathBuf> {
    let inner = |path: PathBuf| {
        let of_organisation = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('@'));
        if of_organisation { list(&path) } else { vec![path] }
    };
    fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).flat_map(inner).collect()
}

/// A package's name, version and licence as a heading, and the licence's text.
fn licence(package: &Path) -> Option<(String, String)> {
    let about = fs::read_to_string(package.join("package.json")).ok()?;
    let field = |name: &str| about.split_once(&format!("\"{name}\":")).and_then(|(_, rest)| rest.split('"').nth(1));
    let heading = format!("{} {} ({})", field("name")?, field("version")?, field("license")?);
    let is_text = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        name.starts_with("licen") && !name.ends_with(".html")
    };
    let text = fs::read_dir(package).ok()?.flatten().map(|entry| entry.path()).find(is_text);
    Some((heading, text.and_then(|path| fs::read_to_string(path).ok()).unwrap_or_default()))
}
