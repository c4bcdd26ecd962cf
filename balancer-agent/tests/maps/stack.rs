//! The stack that the programs take. The kernel allows 512 bytes to all functions that are called by each
//! other (`check_max_stack_depth` in kernel/bpf/verifier.c). Linux 6.1 counts a multiple of 32 for each of them,
//! 6.18 one of 16 where programs are compiled: what it takes may be too much for others.

use std::collections::BTreeMap;

use aya_obj::generated::bpf_insn;

use super::object;

/// `MAX_BPF_STACK`, in bytes.
const MOST: u32 = 512;
/// What each function takes a multiple of, in bytes.
const STEP: u32 = 32;
/// The register that points at the end of the stack.
const FRAME: u8 = 10;

/// `BPF_ALU64 | BPF_MOV | BPF_X` and `BPF_ALU64 | BPF_ADD | BPF_K`.
const MOVE: u8 = 0xbf;
const ADD: u8 = 0x07;
/// `BPF_JMP | BPF_CALL`, and where that calls another function of the program.
const CALL: u8 = 0x85;
const OWN: u8 = 1;
/// The classes of instructions, of which `BPF_LDX` reads over the source, `BPF_ST` and `BPF_STX` write over
/// the destination.
const CLASS: u8 = 7;
const READS: u8 = 1;
const WRITES: [u8; 2] = [2, 3];

/// A function: bytes of its own stack, and where those that it calls begin.
#[derive(Debug, Default)]
struct Function {
    stack: u32,
    calls: Vec<usize>,
}

/// The functions of a program, by their first instruction.
fn functions(code: &[bpf_insn]) -> BTreeMap<usize, Function> {
    let is_call = |at: &bpf_insn| at.code == CALL && at.src_reg() == OWN;
    let target = |(index, at): (usize, &bpf_insn)| {
        usize::try_from(index as i64 + 1 + i64::from(at.imm)).expect("inside the program")
    };
    let called = code.iter().enumerate().filter(|(_, at)| is_call(at)).map(target);
    let mut functions: BTreeMap<usize, Function> =
        called.chain([0]).map(|start| (start, Function::default())).collect();
    for (index, at) in code.iter().enumerate() {
        let (_, function) = functions.range_mut(..=index).next_back().expect("one begins at 0");
        let before = index.checked_sub(1).and_then(|before| code.get(before));
        let is_address = |before: &bpf_insn| {
            (before.code, before.src_reg(), before.dst_reg()) == (MOVE, FRAME, at.dst_reg())
        };
        let offset = match at.code & CLASS {
            READS if at.src_reg() == FRAME => i32::from(at.off),
            class if WRITES.contains(&class) && at.dst_reg() == FRAME => i32::from(at.off),
            _ if at.code == ADD && before.is_some_and(is_address) => at.imm,
            _ => 0,
        };
        function.stack = function.stack.max(offset.min(0).unsigned_abs());
        if is_call(at) {
            function.calls.push(target((index, at)));
        }
    }
    functions
}

/// The most bytes that a function and those that it calls take.
fn deepest(functions: &BTreeMap<usize, Function>, start: usize) -> u32 {
    let function = &functions[&start];
    let below = function.calls.iter().map(|called| deepest(functions, *called)).max();
    function.stack.max(1).next_multiple_of(STEP) + below.unwrap_or_default()
}

#[test]
fn no_program_takes_more_stack_than_old_kernels_allow() {
    let mut object = object();
    let sections = object.functions.keys().map(|(section, _)| *section).collect();
    object.relocate_calls(&sections).expect("linked");
    assert!(!object.programs.is_empty());
    for (name, program) in &object.programs {
        let code = &object.functions[&program.function_key()].instructions;
        let functions = functions(code);
        let bytes = deepest(&functions, 0);
        println!("{name}: {bytes} bytes of {MOST}");
        assert!(bytes <= MOST, "{name} takes {bytes} bytes: {functions:#?}");
        assert!(functions.values().any(|function| function.stack > 0), "{name} uses none");
    }
}
