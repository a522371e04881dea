//! The worker against real servers: every module here is one of them.

#[cfg(test)]
mod abandoned;
#[cfg(test)]
mod anthropic;
#[cfg(test)]
mod cloud;
#[cfg(test)]
mod hands;
#[cfg(test)]
mod mcp;
#[cfg(test)]
mod openai;
#[cfg(test)]
mod provider;
#[cfg(test)]
mod sandbox;
#[cfg(test)]
mod tools;
#[cfg(test)]
mod turns;
