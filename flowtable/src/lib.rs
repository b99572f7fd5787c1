//! flowtable
