//! Takes turns from RabbitMQ, runs the model and its tools, writes chunks.

pub mod model;
