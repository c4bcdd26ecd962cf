//! Finds the eBPF object that the agent embeds: `$BALANCER_EBPF_OBJECT`, else where
//! `cargo xtask build` puts it.

use std::{env, path::PathBuf};

fn main() {
    println!("cargo::rerun-if-env-changed=BALANCER_EBPF_OBJECT");
    let object = env::var_os("BALANCER_EBPF_OBJECT").map_or_else(default_object, PathBuf::from);
    println!("cargo::rerun-if-changed={}", object.display());
    if object.is_file() {
        println!("cargo::rustc-env=BALANCER_EBPF_OBJECT={}", object.display());
    } else {
        println!(
            "cargo::error=the eBPF object {} does not exist: run `cargo xtask build`, which \
             compiles it first",
            object.display()
        );
    }
}

fn default_object() -> PathBuf {
    let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    manifest.join("../target/balancer.bpf.o")
}
