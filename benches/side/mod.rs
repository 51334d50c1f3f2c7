//! What stands on both sides of the comparison: the two servers, their costs, statistics, the page.

pub mod bench;
pub mod cost;
pub mod estafette;
pub mod machine;
pub mod plot;
pub mod postfix;
pub mod ratio;
pub mod run;
