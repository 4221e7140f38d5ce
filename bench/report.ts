// npm run bench -- report: the results under bench/results/ as tables and charts in docs/performance.md, between its two
// marks. Of results with one name the latest is shown.
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { judge, verdictText } from './goals.ts'
import { type BenchResult, describeMachine, number, readResult, spread } from './harness/result.ts'
import { median } from './harness/statistics.ts'

const folder = fileURLToPath(new URL('./results/', import.meta.url))
const page = fileURLToPath(new URL('../docs/performance.md', import.meta.url))
const begin = '<!-- Written by `npm run bench -- report`: begin -->'
const end = '<!-- Written by `npm run bench -- report`: end -->'

export function report(): void {
  const text = readFileSync(page, 'utf8')
  const [from, to] = [text.indexOf(begin), text.indexOf(end)]
  if (from < 0 || to < from) throw new Error(`${page} has lost its marks: ${begin} ... ${end}`)
  const results = latestResults().map(([name, file]) => ({ name, file, result: readResult(`${folder}${file}`) }))
  const sections = results.map(({ name, file, result }) => section(name, file, result))
  const body = sections.length === 0 ? ['There are no results yet.\n'] : [goalTable(results), ...sections]
  writeFileSync(page, `${text.slice(0, from)}${begin}\n\n${body.join('\n')}\n${text.slice(to)}`)
  console.log(`${sections.length} results in ${page}`)
}

/** Names with their files, in the order of names. */
function latestResults(): [name: string, file: string][] {
  const latest = new Map<string, string>()
  for (const file of existsSync(folder) ? readdirSync(folder).sort() : []) {
    const name = /^\d{4}-\d\d-\d\d-(.+)\.json$/.exec(file)?.[1]
    if (name !== undefined) latest.set(name, file)
  }
  return [...latest].sort(([a], [b]) => a.localeCompare(b))
}

/** Every measure that has a goal, over all results. */
function goalTable(results: readonly { readonly name: string; readonly result: BenchResult }[]): string {
  const rows = results.flatMap(({ name, result }) =>
    result.series
      .filter(({ candidate }) => candidate === 'twinbore')
      .flatMap(({ measure, unit, samples }) => {
        const verdict = judge(result, 'twinbore', measure)
        if (!verdict) return []
        const { goal, must, aim } = verdict
        const theirs = result.series.find(one => one.candidate === goal.peer && one.measure === measure)?.samples
        const peer = theirs ? `${number(median(theirs))} (${goal.peer})` : ''
        const bounds = [must, aim].map(({ bound, missedBy }) =>
          missedBy <= 0 ? `${number(bound)}, reached` : `${number(bound)}, missed by ${(missedBy * 100).toFixed(0)} %`,
        )
        return [[`[${name}](#${name})`, measure, unit, number(median(samples)), peer, ...bounds]]
      }),
  )
  const head = ['result', 'measure', 'unit', 'twinbore', 'peer', 'must', 'aim']
  return ['### Goals', '', ...[head, head.map(() => '---'), ...rows].map(row => `| ${row.join(' | ')} |`), ''].join(
    '\n',
  )
}

function section(name: string, file: string, result: BenchResult): string {
  const candidates = [...new Set(result.series.map(series => series.candidate))]
  const measures = [...new Set(result.series.map(series => series.measure))]
  const rounds = Math.max(...result.series.map(series => series.samples.length))
  const rows = measures.map(measure => {
    const series = result.series.filter(one => one.measure === measure)
    const cells = candidates.map(candidate => {
      const samples = series.find(one => one.candidate === candidate)?.samples
      return samples ? `${number(median(samples))} [${spread(samples)}]` : ''
    })
    const { unit } = series[0]!
    const verdict = judge(result, 'twinbore', measure)
    return [measure, unit, ...cells, verdict ? verdictText(verdict, number) : '']
  })
  const hasGoals = rows.some(row => row.at(-1) !== '')
  const head = ['', 'unit', ...candidates, 'goal']
  const table = [head, head.map(() => '---'), ...rows].map(
    row => `| ${(hasGoals ? row : row.slice(0, -1)).join(' | ')} |`,
  )
  return [
    `### ${name}`,
    '',
    `${file.slice(0, 10)}, ${describeMachine(result)}. Medians of ${rounds} rounds [least - most]. Options: ${optionsText(result)}.`,
    '',
    ...table,
    '',
    `![Chart of ${name}](../bench/results/${file.replace(/\.json$/, '.svg')})`,
    '',
  ].join('\n')
}

function optionsText({ options }: BenchResult): string {
  const shown = Object.entries(options).filter(([, value]) => value !== undefined && value !== false)
  return shown.map(([name, value]) => `${name} ${typeof value === 'object' ? JSON.stringify(value) : value}`).join(', ')
}
