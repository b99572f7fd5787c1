//! switchd

pub mod lab;
