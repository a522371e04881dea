//! The API against real servers: PostgreSQL, Redis and RabbitMQ of `DATABASE_URL`, `REDIS_URL` and
//! `RABBITMQ_URL`. A test here plays the worker itself.

#[cfg(test)]
mod admin;
#[cfg(test)]
mod again;
#[cfg(test)]
mod analytics;
#[cfg(test)]
mod attachments;
#[cfg(test)]
mod coverage;
#[cfg(test)]
mod credits;
#[cfg(test)]
mod files;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod identity;
#[cfg(test)]
mod impersonation;
#[cfg(test)]
mod outages;
#[cfg(test)]
mod playground;
#[cfg(test)]
mod process;
#[cfg(test)]
mod rate_limit;
#[cfg(test)]
mod relay;
#[cfg(test)]
mod reset;
#[cfg(test)]
mod sessions;
#[cfg(test)]
mod streams;
#[cfg(test)]
mod tickets;
#[cfg(test)]
mod turns;
#[cfg(test)]
mod understanding;
#[cfg(test)]
mod uploads;
#[cfg(test)]
mod usage;
