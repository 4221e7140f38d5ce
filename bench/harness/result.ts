// What a bench found: samples by candidate and measure, with all that is needed to judge them later.
import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { cpus, loadavg, release } from 'node:os'
import { dirname } from 'node:path'
import { renderChart } from './chart.ts'
import { median } from './statistics.ts'

export type Better = 'more' | 'less'

/** The samples of one measure of one candidate, one per round. */
export interface Series {
  readonly candidate: string
  readonly measure: string
  readonly unit: string
  /** Whether more of it is better, as of throughput, or less, as of CPU time. */
  readonly better: Better
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
  /** Load averages of one minute, before and after. */
  readonly load?: readonly [before: number, after: number]
  /** What was asked for, and what the candidates agreed on (ciphers, versions). */
  readonly options: Readonly<Record<string, unknown>>
  readonly series: readonly Series[]
}

/** Collects samples while a bench runs. */
export class Recorder {
  readonly #series = new Map<string, Series>()
  readonly #startedAt = new Date().toISOString()
  readonly #load = loadavg()[0]!

  add(candidate: string, measure: string, unit: string, better: Better, value: number): void {
    const key = `${candidate}\0${measure}`
    const series = this.#series.get(key) ?? { candidate, measure, unit, better, samples: [] }
    series.samples.push(Number(value.toPrecision(6)))
    this.#series.set(key, series)
  }

  /** Closes the bench: prints the table and writes the JSON file, with the chart beside it. */
  finish(bench: string, options: Readonly<Record<string, unknown>>, file: string): BenchResult {
    const result: BenchResult = {
      bench,
      startedAt: this.#startedAt,
      commit: commitName(),
      cpu: cpus()[0]?.model ?? 'unknown',
      cores: cpus().length,
      kernel: release(),
      node: process.versions.node,
      openssl: process.versions.openssl,
      load: [this.#load, loadavg()[0]!],
      options,
      series: [...this.#series.values()],
    }
    console.log(`\n${renderTable(result)}`)
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, `${JSON.stringify(result, undefined, 2)}\n`)
    const chart = chartFile(file)
    writeFileSync(chart, renderChart(result))
    console.log(`\nWritten to ${file} and ${chart}`)
    return result
  }
}

/** Where the chart of a result is. */
export function chartFile(jsonFile: string): string {
  return `${jsonFile.replace(/\.json$/, '')}.svg`
}

/** What it was measured on, in one line. */
export function describeMachine({ commit, cores, cpu, kernel, node, load }: BenchResult): string {
  const loads = load ? `, load average ${load.map(one => one.toFixed(1)).join(' to ')}` : ''
  return `commit ${commit}, ${cores} x ${cpu}, Linux ${kernel}, Node ${node}${loads}`
}

export function renderTable(result: BenchResult): string {
  const rounds = Math.max(...result.series.map(series => series.samples.length))
  const rows = result.series.map(({ candidate, measure, unit, samples }) => [
    measure,
    candidate,
    number(median(samples)),
    `[${spread(samples)}]`,
    unit,
  ])
  // The sort is stable: candidates of one measure stay in their order.
  rows.sort((a, b) => a[0]!.localeCompare(b[0]!))
  const head = [`${result.bench}: ${describeMachine(result)}`, `medians over ${rounds} rounds, [least - most]`, '']
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
  const size = Math.abs(value)
  return size >= 100 ? value.toFixed(0) : size >= 10 ? value.toFixed(1) : value.toFixed(2)
}

export function spread(samples: readonly number[]): string {
  return `${number(Math.min(...samples))} - ${number(Math.max(...samples))}`
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
