//! The calls of bpf(2) that aya has no safe form of.
#![allow(unsafe_code, reason = "bpf(2) has no safe form")]

use std::{
    ffi::CString,
    fmt, io,
    os::{
        fd::{AsFd, AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use aya_obj::generated::{
    bpf_attach_type, bpf_attr, bpf_cmd, bpf_link_info, bpf_map_info, bpf_prog_info, bpf_prog_type,
};

/// The kernel keeps at most 64 programs on a hook of one cgroup (BPF_CGROUP_MAX_PROGS); there may
/// be some on each level above it.
const MOST: usize = 1024;

/// Opens a pinned object. `BPF_OBJ_GET`, Linux 4.4.
pub fn open(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut attr = zeroed();
    attr.__bindgen_anon_4.pathname = path.as_ptr() as u64;
    descriptor(bpf_cmd::BPF_OBJ_GET, &mut attr)
}

/// Pins an object. `BPF_OBJ_PIN`, Linux 4.4.
pub fn pin(object: impl AsFd, path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut attr = zeroed();
    attr.__bindgen_anon_4.pathname = path.as_ptr() as u64;
    attr.__bindgen_anon_4.bpf_fd = object.as_fd().as_raw_fd() as u32;
    call(bpf_cmd::BPF_OBJ_PIN, &mut attr).map(drop)
}

/// Replaces the program behind a link in one step. `BPF_LINK_UPDATE`, Linux 5.7.
pub fn update_link(link: impl AsFd, program: impl AsFd) -> io::Result<()> {
    let mut attr = zeroed();
    attr.link_update.link_fd = link.as_fd().as_raw_fd() as u32;
    attr.link_update.__bindgen_anon_1.new_prog_fd = program.as_fd().as_raw_fd() as u32;
    call(bpf_cmd::BPF_LINK_UPDATE, &mut attr).map(drop)
}

/// Detaches the program of a link at once. `BPF_LINK_DETACH`, Linux 5.9. Removing the last pin does
/// it too, but some time later, from a kernel thread.
pub fn detach_link(link: impl AsFd) -> io::Result<()> {
    let mut attr = zeroed();
    attr.link_detach.link_fd = link.as_fd().as_raw_fd() as u32;
    call(bpf_cmd::BPF_LINK_DETACH, &mut attr).map(drop)
}

/// What the kernel knows of a link. `BPF_OBJ_GET_INFO_BY_FD`, Linux 5.8.
pub fn link_info(link: impl AsFd) -> io::Result<bpf_link_info> {
    // SAFETY: a structure of integers, for which all zeroes are valid.
    let mut info: bpf_link_info = unsafe { std::mem::zeroed() };
    get_info(link, &mut info)?;
    Ok(info)
}

/// The kernel's identifier of a link.
pub fn link_id(link: impl AsFd) -> io::Result<u32> {
    Ok(link_info(link)?.id)
}

/// The kernel's identifier of a program. `BPF_OBJ_GET_INFO_BY_FD` of programs, Linux 4.13.
pub fn program_id(program: impl AsFd) -> io::Result<u32> {
    // SAFETY: a structure of integers, for which all zeroes are valid.
    let mut info: bpf_prog_info = unsafe { std::mem::zeroed() };
    get_info(program, &mut info)?;
    Ok(info.id)
}

/// The kernel's identifier of a map. `BPF_OBJ_GET_INFO_BY_FD` of maps, Linux 4.13.
pub fn map_id(map: impl AsFd) -> io::Result<u32> {
    Ok(map_info(map)?.id)
}

/// The kernel's hash of a program's instructions, in hexadecimal as bpftool shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag(pub [u8; 8]);

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What the kernel knows of a map. `BPF_OBJ_GET_INFO_BY_FD` of maps, Linux 4.13.
pub fn map_info(map: impl AsFd) -> io::Result<bpf_map_info> {
    // SAFETY: a structure of integers, for which all zeroes are valid.
    let mut info: bpf_map_info = unsafe { std::mem::zeroed() };
    get_info(map, &mut info)?;
    Ok(info)
}

/// Counts the keys of a map, `most` of them at most; those that come and go meanwhile may be counted or
/// not. `BPF_MAP_GET_NEXT_KEY`.
pub fn count_keys(map: impl AsFd, key_size: u32, most: u32) -> io::Result<u32> {
    let (mut key, mut next) = (vec![0_u8; key_size as usize], vec![0_u8; key_size as usize]);
    let mut count = 0;
    while count < most {
        let mut attr = zeroed();
        attr.__bindgen_anon_2.map_fd = map.as_fd().as_raw_fd() as u32;
        attr.__bindgen_anon_2.key = if count == 0 { 0 } else { key.as_mut_ptr() as u64 };
        attr.__bindgen_anon_2.__bindgen_anon_1.next_key = next.as_mut_ptr() as u64;
        match call(bpf_cmd::BPF_MAP_GET_NEXT_KEY, &mut attr) {
            Ok(_) => count += 1,
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Err(error) => return Err(error),
        }
        std::mem::swap(&mut key, &mut next);
    }
    Ok(count)
}

/// What the kernel knows of a program. `BPF_PROG_GET_FD_BY_ID`, Linux 4.13.
pub fn program_info(id: u32) -> io::Result<bpf_prog_info> {
    let mut attr = zeroed();
    attr.__bindgen_anon_6.__bindgen_anon_1.prog_id = id;
    let program = descriptor(bpf_cmd::BPF_PROG_GET_FD_BY_ID, &mut attr)?;
    // SAFETY: a structure of integers, for which all zeroes are valid.
    let mut info: bpf_prog_info = unsafe { std::mem::zeroed() };
    get_info(&program, &mut info)?;
    Ok(info)
}

/// What one call has read of a map.
#[derive(Clone, Copy, Debug)]
pub struct Batch {
    /// How many entries.
    pub count: usize,
    /// Where the next call goes on; none at the end.
    pub next: Option<u32>,
}

/// Reads entries of a hash map, those of a bucket together: what is added or removed meanwhile
/// neither hides nor repeats another. `ENOSPC` where a bucket holds more than fits.
/// `BPF_MAP_LOOKUP_BATCH`, Linux 5.6.
///
/// # Safety
///
/// `K` and `V` have the sizes of the keys and values of the map, and any bytes are values of them.
pub unsafe fn lookup_batch<K, V>(
    map: impl AsFd,
    from: Option<u32>,
    keys: &mut [K],
    values: &mut [V],
) -> io::Result<Batch> {
    let mut next = 0_u32;
    let mut attr = zeroed();
    attr.batch.in_batch = from.as_ref().map_or(0, |from| std::ptr::from_ref(from) as u64);
    attr.batch.out_batch = std::ptr::from_mut(&mut next) as u64;
    attr.batch.keys = keys.as_mut_ptr() as u64;
    attr.batch.values = values.as_mut_ptr() as u64;
    attr.batch.count = keys.len().min(values.len()) as u32;
    attr.batch.map_fd = map.as_fd().as_raw_fd() as u32;
    let result = call(bpf_cmd::BPF_MAP_LOOKUP_BATCH, &mut attr);
    // SAFETY: the member that was written, and that the kernel has updated.
    let count = unsafe { attr.batch.count } as usize;
    match result {
        Ok(_) => Ok(Batch { count, next: Some(next) }),
        // The end, also of a map that is empty.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Batch { count, next: None }),
        Err(error) => Err(error),
    }
}

/// Removes an entry of a hash map and gives what it held, in one step. `ENOENT` where there is none.
/// `BPF_MAP_LOOKUP_AND_DELETE_ELEM` of hash maps, Linux 5.14.
///
/// # Safety
///
/// `K` and `V` have the sizes of the keys and values of the map, and any bytes are values of `V`.
pub unsafe fn lookup_and_delete<K, V>(map: impl AsFd, key: &K, value: &mut V) -> io::Result<()> {
    let mut attr = zeroed();
    attr.__bindgen_anon_2.map_fd = map.as_fd().as_raw_fd() as u32;
    attr.__bindgen_anon_2.key = std::ptr::from_ref(key) as u64;
    attr.__bindgen_anon_2.__bindgen_anon_1.value = std::ptr::from_mut(value) as u64;
    call(bpf_cmd::BPF_MAP_LOOKUP_AND_DELETE_ELEM, &mut attr).map(drop)
}

/// Lets no program of this machine change a map through bpf(2) any more. `BPF_MAP_FREEZE`, Linux 5.2.
pub fn freeze_map(map: impl AsFd) -> io::Result<()> {
    let mut attr = zeroed();
    attr.__bindgen_anon_2.map_fd = map.as_fd().as_raw_fd() as u32;
    call(bpf_cmd::BPF_MAP_FREEZE, &mut attr).map(drop)
}

/// Programs on a hook of a cgroup.
#[derive(Clone, Debug)]
pub struct Queried {
    /// Identifiers of the programs.
    pub ids: Vec<u32>,
    /// `BPF_F_ALLOW_OVERRIDE` and `BPF_F_ALLOW_MULTI`, as the first of them was attached.
    pub attach_flags: u32,
}

/// Asks which programs are on a hook of a cgroup: its own, or with `BPF_F_QUERY_EFFECTIVE` those that
/// run there, at most 1,024. `BPF_PROG_QUERY`, Linux 4.15.
pub fn query_programs(
    cgroup: impl AsFd,
    hook: bpf_attach_type,
    query_flags: u32,
) -> io::Result<Queried> {
    let mut ids = vec![0_u32; MOST];
    let mut attr = zeroed();
    attr.query.__bindgen_anon_1.target_fd = cgroup.as_fd().as_raw_fd() as u32;
    attr.query.attach_type = hook as u32;
    attr.query.query_flags = query_flags;
    attr.query.prog_ids = ids.as_mut_ptr() as u64;
    attr.query.__bindgen_anon_2.prog_cnt = MOST as u32;
    call(bpf_cmd::BPF_PROG_QUERY, &mut attr)?;
    // SAFETY: the members that were written, and that the kernel has updated.
    let (count, attach_flags) =
        unsafe { (attr.query.__bindgen_anon_2.prog_cnt, attr.query.attach_flags) };
    ids.truncate(count as usize);
    Ok(Queried { ids, attach_flags })
}

/// Loads a program that may be attached to one kind of hook; without a name, maps or BTF.
/// `BPF_PROG_LOAD` with an expected hook, Linux 4.17.
pub fn load_program(
    kind: bpf_prog_type,
    hook: bpf_attach_type,
    instructions: &[u64],
) -> io::Result<OwnedFd> {
    let mut attr = zeroed();
    attr.__bindgen_anon_3.prog_type = kind as u32;
    attr.__bindgen_anon_3.expected_attach_type = hook as u32;
    attr.__bindgen_anon_3.insns = instructions.as_ptr() as u64;
    attr.__bindgen_anon_3.insn_cnt = instructions.len() as u32;
    attr.__bindgen_anon_3.license = c"GPL".as_ptr() as u64;
    descriptor(bpf_cmd::BPF_PROG_LOAD, &mut attr)
}

/// Attaches a program to a cgroup for as long as the link is open. `BPF_LINK_CREATE`, Linux 5.7.
pub fn link_to_cgroup(
    program: impl AsFd,
    cgroup: impl AsFd,
    hook: bpf_attach_type,
) -> io::Result<OwnedFd> {
    let mut attr = zeroed();
    attr.link_create.__bindgen_anon_1.prog_fd = program.as_fd().as_raw_fd() as u32;
    attr.link_create.__bindgen_anon_2.target_fd = cgroup.as_fd().as_raw_fd() as u32;
    attr.link_create.attach_type = hook as u32;
    descriptor(bpf_cmd::BPF_LINK_CREATE, &mut attr)
}

/// Attaches a program to one side of a device for as long as the link is open or pinned.
/// `BPF_LINK_CREATE` of tcx, Linux 6.6.
pub fn link_to_device(
    program: impl AsFd,
    device: u32,
    side: bpf_attach_type,
) -> io::Result<OwnedFd> {
    let mut attr = zeroed();
    attr.link_create.__bindgen_anon_1.prog_fd = program.as_fd().as_raw_fd() as u32;
    attr.link_create.__bindgen_anon_2.target_ifindex = device;
    attr.link_create.attach_type = side as u32;
    descriptor(bpf_cmd::BPF_LINK_CREATE, &mut attr)
}

fn descriptor(command: bpf_cmd, attr: &mut bpf_attr) -> io::Result<OwnedFd> {
    let fd = call(command, attr)?;
    // SAFETY: the kernel has just given this descriptor to us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn get_info<T>(object: impl AsFd, info: &mut T) -> io::Result<()> {
    let mut attr = zeroed();
    attr.info.bpf_fd = object.as_fd().as_raw_fd() as u32;
    attr.info.info_len = size_of::<T>() as u32;
    attr.info.info = std::ptr::from_mut(info) as u64;
    call(bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &mut attr).map(drop)
}

fn zeroed() -> bpf_attr {
    // SAFETY: a union of structures of integers, for which all zeroes are valid.
    unsafe { std::mem::zeroed() }
}

fn call(command: bpf_cmd, attr: &mut bpf_attr) -> io::Result<i32> {
    let size = size_of::<bpf_attr>() as libc::c_uint;
    let attr = std::ptr::from_mut(attr);
    // SAFETY: `attr` is valid for `size` bytes, and what it points to outlives the call.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command as libc::c_int, attr, size) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as i32) }
}
