//! Two series of the same alternations, compared pair by pair, and a row of the table.

/// Which way is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    More,
    Less,
}

/// One row: what was measured on both sides, and the ratio that is asked for.
pub struct Row {
    pub what: String,
    pub unit: &'static str,
    pub ours: Vec<f64>,
    pub theirs: Vec<f64>,
    pub better: Better,
    pub target: Target,
}

/// What is asked of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    /// So many times better, by the median of the alternations.
    Times(f64),
    /// Our own median at most this.
    AtMost(f64),
    /// Nothing: told for understanding.
    Nothing,
}

/// Least, middle and greatest of a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    pub min: f64,
    pub median: f64,
    pub max: f64,
}

impl Spread {
    pub fn of(series: &[f64]) -> Self {
        let mut sorted = series.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
        let last = sorted.len().saturating_sub(1);
        Self {
            min: at(0),
            median: f64::midpoint(at(last / 2), at(last.div_ceil(2))),
            max: at(last),
        }
    }
}

impl Row {
    /// How many times better we are, alternation by alternation.
    pub fn ratio(&self) -> Spread {
        let pairs = self.ours.iter().zip(&self.theirs);
        let ratios: Vec<f64> = match self.better {
            Better::More => pairs.map(|(ours, theirs)| ours / theirs).collect(),
            Better::Less => pairs.map(|(ours, theirs)| theirs / ours).collect(),
        };
        Spread::of(&ratios)
    }

    /// A row of the Markdown table.
    pub fn markdown(&self) -> String {
        let ratio = self.ratio();
        let (asked, met) = match self.target {
            Target::Times(times) => (format!("≥ {} times · ", figure(times)), ratio.median >= times),
            Target::AtMost(limit) => (
                format!("≤ {} · ", figure(limit)),
                Spread::of(&self.ours).median <= limit,
            ),
            Target::Nothing => (String::new(), true),
        };
        let verdict = if asked.is_empty() { "" } else { verdict(met) };
        format!(
            "| {} | {} | {} | {} | {} / {} / {} | {asked}{verdict} |\n",
            self.what,
            self.unit,
            figure(Spread::of(&self.ours).median),
            figure(Spread::of(&self.theirs).median),
            figure(ratio.min),
            figure(ratio.median),
            figure(ratio.max),
        )
    }
}

/// Whether a target is met, in a table's words.
pub fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "**missed**" }
}

/// The head of a table of rows, the second side named.
pub fn head(theirs: &str) -> String {
    format!(
        "| | unit | Estafette | {theirs} | times better: min / median / max | target |\n|---|---|---|---|---|---|\n"
    )
}

/// Three digits that matter.
pub fn figure(value: f64) -> String {
    let digits = match value.abs() {
        large if large >= 100.0 => 0,
        middle if middle >= 10.0 => 1,
        small if small >= 1.0 => 2,
        _ => 3,
    };
    format!("{value:.digits$}")
}
