// The chart of a result: one panel for each measure, one bar for each candidate, as a self-contained SVG that is
// readable on light and on dark pages.
import type { BenchResult, Series } from './result.ts'
import { median } from './statistics.ts'

const width = 760
const labelWidth = 150
const valueWidth = 90
const barHeight = 18
const barGap = 6
const headHeight = 26
const axisHeight = 24
const panelGap = 18
const plotWidth = width - labelWidth - valueWidth

// Of Okabe and Ito's colours, which those who see few colours can tell apart; they stand on white and on black.
const fills = ['#0072b2', '#e69f00', '#009e73', '#cc79a7', '#56b4e9', '#d55e00']

const style = `
  text { font: 12px system-ui, sans-serif; fill: #24292f }
  .title { font-weight: 600; font-size: 13px }
  .quiet { fill: #57606a }
  .grid { stroke: #d0d7de; stroke-width: 1 }
  .spread { stroke: #24292f; stroke-width: 1.5 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }
    .quiet { fill: #9198a1 }
    .grid { stroke: #3d444d }
    .spread { stroke: #e6edf3 }
  }`

/** The whole SVG file. Bars are medians; the line on a bar goes from the least to the greatest sample. */
export function renderChart(result: BenchResult): string {
  const candidates = [...new Set(result.series.map(series => series.candidate))]
  const measures = [...new Set(result.series.map(series => series.measure))]
  const parts: string[] = []
  let top = 44
  for (const measure of measures) {
    const series = result.series.filter(one => one.measure === measure)
    parts.push(`<g transform="translate(0 ${top})">`, ...panel(measure, series, candidates), '</g>')
    top += headHeight + series.length * (barHeight + barGap) + axisHeight + panelGap
  }
  const rounds = Math.max(0, ...result.series.map(series => series.samples.length))
  const title = `${result.bench}: medians of ${rounds} rounds, line from least to greatest`
  const facts = `commit ${result.commit}, ${result.cores} x ${result.cpu}, Linux ${result.kernel}, Node ${result.node}`
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${top}" width="${width}" height="${top}" role="img">`,
    `<title>${escaped(title)}</title>`,
    `<style>${style}\n</style>`,
    `<text x="0" y="14" class="title">${escaped(title)}</text>`,
    `<text x="0" y="31" class="quiet">${escaped(facts)}</text>`,
    ...parts,
    '</svg>',
    '',
  ].join('\n')
}

function panel(measure: string, series: readonly Series[], candidates: readonly string[]): string[] {
  const { unit, better } = series[0]!
  const ticks = axisTicks(Math.max(0, ...series.flatMap(one => one.samples)))
  const end = ticks.at(-1)!
  const x = (value: number): number => labelWidth + (Math.max(0, value) / end) * plotWidth
  const bottom = headHeight + series.length * (barHeight + barGap)
  const lines = [
    `<text x="0" y="14"><tspan class="title">${escaped(measure)}</tspan><tspan class="quiet">  ${better} is better</tspan></text>`,
  ]
  for (const tick of ticks) {
    const at = x(tick).toFixed(1)
    lines.push(`<line x1="${at}" y1="${headHeight - 4}" x2="${at}" y2="${bottom}" class="grid"/>`)
    lines.push(`<text x="${at}" y="${bottom + 14}" text-anchor="middle" class="quiet">${tickText(tick)}</text>`)
  }
  lines.push(`<text x="${width - valueWidth + 24}" y="${bottom + 14}" class="quiet">${escaped(unit)}</text>`)
  series.forEach((one, row) => {
    const y = headHeight + row * (barHeight + barGap)
    const middle = y + barHeight / 2
    const value = median(one.samples)
    const [least, most] = [Math.min(...one.samples), Math.max(...one.samples)]
    const fill = fills[candidates.indexOf(one.candidate) % fills.length]!
    lines.push(
      `<text x="${labelWidth - 8}" y="${middle + 4}" text-anchor="end">${escaped(one.candidate)}</text>`,
      `<rect x="${labelWidth}" y="${y}" width="${(x(value) - labelWidth).toFixed(1)}" height="${barHeight}" fill="${fill}"/>`,
      `<path d="M${x(least).toFixed(1)} ${middle}H${x(most).toFixed(1)}" class="spread"/>`,
      ...[least, most].map(end => `<path d="M${x(end).toFixed(1)} ${middle - 4}v8" class="spread"/>`),
      `<text x="${(x(most) + 6).toFixed(1)}" y="${middle + 4}">${shortNumber(value)}</text>`,
    )
  })
  return lines
}

/** From 0 in even steps of 1, 2 or 5 times a power of ten, to the first one that is not below `most`. */
export function axisTicks(most: number): number[] {
  if (!(most > 0)) return [0, 1]
  const rough = most / 5
  const power = 10 ** Math.floor(Math.log10(rough))
  const step = [1, 2, 5, 10].map(factor => factor * power).find(size => size >= rough)!
  const count = Math.ceil(most / step - 1e-9)
  return Array.from({ length: count + 1 }, (_, i) => Number((i * step).toPrecision(12)))
}

function tickText(value: number): string {
  return value >= 10_000 ? `${Number((value / 1000).toPrecision(6))}k` : `${value}`
}

function shortNumber(value: number): string {
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2)
}

function escaped(text: string): string {
  return text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/"/g, '&quot;')
}
