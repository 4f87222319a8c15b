//! Kubernetes REST on a Unix socket.
