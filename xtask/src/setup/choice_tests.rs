use super::*;

fn compiler(name: &str, minor: u32, llvm: u32) -> Compiler {
    Compiler {
        rustc: format!("/{name}/rustc").into(),
        cargo: format!("/{name}/cargo").into(),
        release: Release { major: 1, minor },
        nightly: false,
        llvm,
        compiled_core: false,
        rust_src: false,
    }
}

fn nightly(minor: u32, llvm: u32) -> Compiler {
    Compiler { nightly: true, rust_src: true, ..compiler("nightly", minor, llvm) }
}

fn debian(minor: u32, llvm: u32) -> Compiler {
    Compiler { compiled_core: true, ..compiler("debian", minor, llvm) }
}

fn stable(minor: u32, llvm: u32) -> Compiler {
    Compiler { rust_src: true, ..compiler("stable", minor, llvm) }
}

fn linker(llvm: u32) -> Linker {
    Linker { path: format!("/llvm-{llvm}/bpf-linker").into(), llvm }
}

/// The way, the LLVM of the compiler and the LLVM of the linker.
fn choice(
    preference: Preference,
    compilers: &[Compiler],
    linkers: &[Linker],
) -> Option<(Way, u32, Option<u32>)> {
    choose(preference, compilers, linkers)
        .map(|chosen| (chosen.way, chosen.compiler.llvm, chosen.linker.map(|linker| linker.llvm)))
}

#[test]
fn nothing_found_is_nothing_chosen() {
    assert_eq!(choice(Preference::Auto, &[], &[linker(22)]), None);
    assert_eq!(choice(Preference::Auto, &[compiler("plain", 95, 22)], &[linker(22)]), None);
}

#[test]
fn a_compiled_core_goes_first_when_all_are_complete() {
    let compilers = [stable(96, 22), debian(96, 22), nightly(97, 22)];
    let linkers = [linker(22)];
    for (preference, way) in [
        (Preference::Auto, Way::CompiledCore),
        (Preference::Nightly, Way::NightlyBuildStd),
        (Preference::Debian, Way::CompiledCore),
        (Preference::Stable, Way::StableBuildStd),
    ] {
        assert_eq!(choice(preference, &compilers, &linkers), Some((way, 22, Some(22))));
    }
}

#[test]
fn what_is_complete_goes_before_what_needs_a_linker() {
    let compilers = [nightly(97, 22), debian(110, 23)];
    assert_eq!(
        choice(Preference::Auto, &compilers, &[linker(22)]),
        Some((Way::NightlyBuildStd, 22, Some(22)))
    );
    assert_eq!(
        choice(Preference::Debian, &compilers, &[linker(22)]),
        Some((Way::CompiledCore, 23, None))
    );
}

#[test]
fn a_linker_reads_its_own_bitcode_and_older() {
    let compilers = [debian(96, 22)];
    let nearest = choice(Preference::Auto, &compilers, &[linker(21), linker(23), linker(22)]);
    assert_eq!(nearest, Some((Way::CompiledCore, 22, Some(22))));
    let newer = choice(Preference::Auto, &compilers, &[linker(21), linker(23)]);
    assert_eq!(newer, Some((Way::CompiledCore, 22, Some(23))));
    let older = choice(Preference::Auto, &compilers, &[linker(21)]);
    assert_eq!(older, Some((Way::CompiledCore, 22, None)));
}

#[test]
fn an_llvm_that_no_linker_is_built_for_is_passed_over() {
    let compilers = [nightly(97, 22), debian(110, 24)];
    assert_eq!(
        choice(Preference::Auto, &compilers, &[]),
        Some((Way::NightlyBuildStd, 22, None)),
        "LLVM 24 is outside {LINKABLE_LLVM:?}"
    );
    assert_eq!(choice(Preference::Debian, &compilers, &[]), None);
}

#[test]
fn old_compilers_are_passed_over_and_the_newest_goes_first() {
    assert_eq!(choice(Preference::Auto, &[debian(85, 22)], &[linker(22)]), None);
    let two = [nightly(97, 22), nightly(101, 23)];
    let with_both = choice(Preference::Auto, &two, &[linker(23)]);
    assert_eq!(with_both, Some((Way::NightlyBuildStd, 23, Some(23))));
    let with_older = choice(Preference::Auto, &two, &[linker(22)]);
    assert_eq!(with_older, Some((Way::NightlyBuildStd, 22, Some(22))));
}
