//! The world's events: HTTP requests, and messages of streams and of channels, brought to components.

pub mod channel;
pub mod http;
pub mod stop;
pub mod stream;
