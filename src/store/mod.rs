//! redb: records with versions, one transaction a step, the whole state back at boot.
