//! What the fleet is told of this node.
