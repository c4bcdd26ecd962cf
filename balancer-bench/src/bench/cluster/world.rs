//! What is true in a simulated cluster: who is connected to whom, and which backends there are.

use std::rc::Rc;

/// Nodes, backends and the connections between them.
pub(super) struct World {
    backends: usize,
    /// Connections of each node to each backend, one node after another.
    own: Vec<u32>,
    /// Connections of all nodes to each backend.
    total: Vec<u32>,
    /// The backends that new connections of each node may go to.
    rows: Vec<Rc<[usize]>>,
}

impl World {
    /// Without a connection; every node may use every backend.
    pub(super) fn new(nodes: usize, backends: usize) -> Self {
        let row: Rc<[usize]> = (0..backends).collect();
        Self {
            backends,
            own: vec![0; nodes * backends],
            total: vec![0; backends],
            rows: vec![row; nodes],
        }
    }

    pub(super) fn nodes(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn backends(&self) -> usize {
        self.backends
    }

    /// The row of a node.
    pub(super) fn row(&self, node: usize) -> &Rc<[usize]> {
        &self.rows[node]
    }

    /// Gives all nodes the same row.
    pub(super) fn set_row(&mut self, row: &[usize]) {
        let row: Rc<[usize]> = row.into();
        self.rows.fill(row);
    }

    /// Gives a node a row of its own.
    pub(super) fn set_row_of(&mut self, node: usize, row: &[usize]) {
        self.rows[node] = row.into();
    }

    /// Connections of a node to each backend.
    pub(super) fn own(&self, node: usize) -> &[u32] {
        &self.own[node * self.backends..][..self.backends]
    }

    /// Connections of all nodes to each backend.
    pub(super) fn total(&self) -> &[u32] {
        &self.total
    }

    pub(super) fn open(&mut self, node: usize, backend: usize) {
        self.own[node * self.backends + backend] += 1;
        self.total[backend] += 1;
    }

    pub(super) fn close(&mut self, node: usize, backend: usize) {
        self.own[node * self.backends + backend] -= 1;
        self.total[backend] -= 1;
    }
}
