//! Serves the tests' E2B for other clients of it, until it is killed.

use std::io::Write;

use copilot_shared::testing::e2b::E2b;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let e2b = E2b::start().await;
    for (name, value) in e2b.environment() {
        writeln!(std::io::stdout(), "export {name}={value}")?;
    }
    tokio::signal::ctrl_c().await
}
