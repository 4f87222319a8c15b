//! Whether a pod fits this node: labels, affinity, taints, ports.
