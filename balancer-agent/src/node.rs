//! Facts about this node, read where the kernel tells them. Nothing here judges.

pub mod bpffs;
pub mod caps;
pub mod cgroup;
pub mod clock;
pub mod conntrack;
pub mod devices;
pub mod holders;
pub mod hooks;
pub mod interfaces;
pub mod kernel;
pub mod kubeproxy;
mod mounts;
pub mod netns;
pub mod networks;
pub mod processes;
pub mod routes;
pub mod sockets;
pub mod tcp_info;

/// `$NODE_NAME`, else the hostname in lower case, as kubelet registers it.
pub fn name() -> String {
    match std::env::var("NODE_NAME") {
        Ok(name) if !name.is_empty() => name,
        _ => kernel::hostname().to_lowercase(),
    }
}

#[cfg(test)]
mod properties;
