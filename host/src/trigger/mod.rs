//! The world's events: HTTP requests and stream messages, brought to components.

pub mod channel;
pub mod http;
pub mod stream;
