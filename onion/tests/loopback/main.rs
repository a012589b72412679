//! Both ends and stock LDK relays, over real TCP on loopback.

#[cfg(test)]
mod first_hops;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod losses;
#[cfg(test)]
mod passes;
#[cfg(test)]
mod round_trips;
#[cfg(test)]
mod support;
