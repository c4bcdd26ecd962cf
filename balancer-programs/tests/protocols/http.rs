//! HTTP/1.1: hyper-util's client with a pool shared by threads.

use balancer_lab::http::{Client, LoadOptions, Pools, Server, Until};

use crate::harness::{Cluster, VIP};
