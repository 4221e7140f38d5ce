// What a bench found: samples by candidate and measure, with all that is needed to judge them later.
import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { cpus, release } from 'node:os'
import { dirname } from 'node:path'

/** The samples of one measure of one candidate, one per round. */
export interface Series {
  readonly candidate: string
  readonly measure: string
  readonly unit: string
  /** Whether more of it is better, as of throughput, or less, as of CPU time. */
  readonly better: 'more' | 'less'
  readonly samples: number[]
}

export interface BenchResult {
  readonly bench: string
  readonly startedAt: string
  readonly commit: string
  readonly cpu: string
  readonly cores: number
  readonly kernel: string
  readonly node: string
  readonly openssl: string
  readonly options: Readonly<Record<string, unknown>>
  readonly series: readonly Series[]
}

/** Collects samples while a bench runs. */
export class Recorder {
  readonly #series = new Map<string, Series>()

  add(candidate: string, measure: string, unit: string, better: 'more' | 'less', value: number): void {
    const key = `${candidate}\0${measure}`
    const series = this.#series.get(key) ?? { candidate, measure, unit, better, samples: [] }
    series.samples.push(value)
    this.#series.set(key, series)
  }

  /** Closes the bench: prints the table and writes the JSON file. */
  finish(bench: string, options: Readonly<Record<string, unknown>>, file: string): BenchResult {
    const result: BenchResult = {
      bench,
      startedAt: new Date().toISOString(),
      commit: commitName(),
      cpu: cpus()[0]?.model ?? 'unknown',
      cores: cpus().length,
      kernel: release(),
      node: process.versions.node,
      openssl: process.versions.openssl,
      options,
      series: [...this.#series.values()],
    }
    console.log(`\n${renderTable(result)}`)
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, `${JSON.stringify(result, undefined, 2)}\n`)
    console.log(`\nWritten to ${file}`)
    return result
  }
}

export function median(samples: readonly number[]): number {
  return quantile(samples, 0.5)
}

/** The value below which the share `q` of the samples lies, interpolated between neighbours. */
export function quantile(samples: readonly number[], q: number): number {
  const sorted = [...samples].sort((a, b) => a - b)
  const at = (sorted.length - 1) * q
  const low = sorted[Math.floor(at)] ?? Number.NaN
  const high = sorted[Math.ceil(at)] ?? Number.NaN
  return low + (high - low) * (at - Math.floor(at))
}

export function renderTable(result: BenchResult): string {
  const head = [
    `${result.bench}: commit ${result.commit}, ${result.cores} x ${result.cpu}, Linux ${result.kernel}, Node ${result.node}`,
    `medians over ${Math.max(...result.series.map(series => series.samples.length))} rounds, [least - most]`,
    '',
  ]
  const rows = result.series.map(({ candidate, measure, unit, samples }) => [
    measure,
    candidate,
    number(median(samples)),
    `[${number(Math.min(...samples))} - ${number(Math.max(...samples))}]`,
    unit,
  ])
  rows.sort((a, b) => a[0]!.localeCompare(b[0]!))
  return [...head, ...columns(rows)].join('\n')
}

/** Lines of left-aligned columns. */
export function columns(rows: readonly (readonly string[])[]): string[] {
  const widths = rows.reduce<number[]>((wide, row) => row.map((cell, i) => Math.max(cell.length, wide[i] ?? 0)), [])
  return rows.map(row =>
    row
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join('  ')
      .trimEnd(),
  )
}

/** Three or four digits that mean something. */
export function number(value: number): string {
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2)
}

export function readResult(file: string): BenchResult {
  return JSON.parse(readFileSync(file, 'utf8')) as BenchResult
}

function commitName(): string {
  try {
    const git = (...args: string[]): string => execFileSync('git', args, { encoding: 'utf8' }).trim()
    return git('rev-parse', '--short', 'HEAD') + (git('status', '--porcelain') === '' ? '' : ' with changes')
  } catch {
    return 'unknown'
  }
}
