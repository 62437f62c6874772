//! The plot of cost against number of processes, as SVG.

use plotters::prelude::*;

use crate::report::Growth;

const COLOURS: [RGBColor; 5] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 86, 86),
];

pub(crate) fn draw(file: &str, growth: &[Growth]) {
    if growth.is_empty() {
        println!("nothing to draw: only the row `scale` measures what grows");
        return;
    }
    let points = || growth.iter().flat_map(|growth| &growth.points);
    let most = points().map(|(count, _)| *count).max().unwrap_or(1) as f64;
    let top = points().map(|(_, cost)| *cost).fold(2.0, f64::max) * 1.05;
    let area = SVGBackend::new(file, (760, 420)).into_drawing_area();
    area.fill(&WHITE).unwrap();
    let mut chart = ChartBuilder::on(&area)
        .margin(16)
        .x_label_area_size(42)
        .y_label_area_size(56)
        .caption(
            "Cost of a call, as a multiple of its cost at one process",
            ("sans-serif", 16),
        )
        .build_cartesian_2d((1.0..most).log_scale(), 0.0..top)
        .unwrap();
    chart
        .configure_mesh()
        .x_desc("live processes")
        .y_desc("× cost at one")
        .x_label_formatter(&|count| format!("{count:.0}"))
        .light_line_style(RGBColor(240, 240, 240))
        .draw()
        .unwrap();
    for (growth, colour) in growth.iter().zip(COLOURS.into_iter().cycle()) {
        let line = growth.points.iter().map(|(count, cost)| (*count as f64, *cost));
        chart
            .draw_series(LineSeries::new(line.clone(), colour.stroke_width(2)))
            .unwrap()
            .label(growth.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
        chart
            .draw_series(line.map(|point| Circle::new(point, 3, colour.filled())))
            .unwrap();
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .border_style(RGBColor(200, 200, 200))
        .background_style(WHITE)
        .draw()
        .unwrap();
    area.present().unwrap();
    println!("drawn: {file}");
}
