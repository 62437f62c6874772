//! The figures, as lines of a Markdown table.

use std::time::Duration;

/// The target of a value.
#[derive(Clone, Copy)]
pub(crate) enum Target {
    AtLeast(f64),
    AtMost(f64),
    /// Measured to explain another line.
    None,
}

/// The unit in which a value is written.
#[derive(Clone, Copy)]
pub(crate) enum Unit {
    /// A fraction of the limit.
    Times,
    Micros,
    Percent,
    Kibibytes,
    GigabytesPerSecond,
}

/// The cost of an operation at different numbers of processes, for the plot.
pub(crate) struct Growth {
    pub(crate) name: &'static str,
    /// The number of processes, and the cost as a multiple of the cost at the smallest number.
    pub(crate) points: Vec<(usize, f64)>,
}

pub(crate) struct Report {
    missed: usize,
    measured: usize,
    growth: Vec<Growth>,
}

impl Report {
    pub(crate) fn begin() -> Self {
        println!("| row | workload | figure | limit in the same run | value | target | met |");
        println!("|---|---|---|---|---|---|---|");
        Self {
            missed: 0,
            measured: 0,
            growth: Vec::new(),
        }
    }

    /// A line: the measured operation, the comparison, and whether the value meets its target.
    #[expect(clippy::too_many_arguments, reason = "the columns of a table")]
    pub(crate) fn line(
        &mut self,
        row: &str,
        workload: &str,
        figure: &str,
        limit: &str,
        value: f64,
        unit: Unit,
        target: Target,
    ) {
        let (met, sign, bound) = match target {
            Target::AtLeast(bound) => (value >= bound, '≥', bound),
            Target::AtMost(bound) => (value <= bound, '≤', bound),
            Target::None => {
                println!(
                    "| {row} | {workload} | {figure} | {limit} | {} | – | – |",
                    unit.write(value)
                );
                return;
            }
        };
        self.measured += 1;
        self.missed += usize::from(!met);
        let (value, bound) = (unit.write(value), unit.write(bound));
        let met = if met { "yes" } else { "**no**" };
        println!("| {row} | {workload} | {figure} | {limit} | {value} | {sign} {bound} | {met} |");
    }

    pub(crate) fn grows(&mut self, growth: Growth) {
        self.growth.push(growth);
    }

    pub(crate) fn growth(&self) -> &[Growth] {
        &self.growth
    }

    pub(crate) fn end(&self) {
        println!(
            "\n{} figures, {} of them short of their target",
            self.measured, self.missed
        );
    }
}

impl Unit {
    fn write(self, value: f64) -> String {
        match self {
            Self::Times => format!("{value:.2} ×"),
            Self::Micros => format!("{value:.2} µs"),
            Self::Percent => format!("{value:.2} %"),
            Self::Kibibytes => format!("{value:.1} KiB"),
            Self::GigabytesPerSecond => format!("{value:.2} GB/s"),
        }
    }
}

/// The value below which `percent` of the values are.
pub(crate) fn quantile(values: &mut [f64], percent: usize) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let at = (values.len() * percent / 100).min(values.len().saturating_sub(1));
    values.get(at).copied().unwrap_or(f64::NAN)
}

pub(crate) fn median(values: &mut [f64]) -> f64 {
    quantile(values, 50)
}

pub(crate) fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// Of `bytes` in `micros`.
pub(crate) fn gigabytes_per_second(bytes: f64, micros: f64) -> f64 {
    bytes / micros / 1e3
}
