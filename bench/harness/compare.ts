// Results side by side: two of one bench, and the candidates of one result.
import { judge, verdictText } from '../goals.ts'
import { type BenchResult, columns, number, readResult } from './result.ts'
import { median } from './statistics.ts'

/** Prints the medians of two result files, and how much better or worse the new one is. */
export function compare(oldFile: string, newFile: string): void {
  const [before, after] = [readResult(oldFile), readResult(newFile)]
  console.log(`${before.bench}: ${before.commit} (${before.cpu}) -> ${after.commit} (${after.cpu})\n`)
  const rows = after.series.flatMap(({ candidate, measure, unit, better, samples }) => {
    const old = before.series.find(series => series.candidate === candidate && series.measure === measure)
    if (!old) return []
    const [from, to] = [median(old.samples), median(samples)]
    const gain = (better === 'more' ? to / from - 1 : from / to - 1) * 100
    // Ranges that touch show a difference that one more run may reverse.
    const apart = Math.min(...samples) > Math.max(...old.samples) || Math.max(...samples) < Math.min(...old.samples)
    const verdict = `${gain >= 0 ? '+' : ''}${gain.toFixed(0)} %${apart ? '' : ' (ranges overlap)'}`
    return [[measure, candidate, number(from), '->', number(to), unit, verdict]]
  })
  console.log(columns(rows).join('\n'))
}

/** Prints, for every measure of `ours`, how it stands to each other candidate, and what the goals say. */
export function compareCandidates(result: BenchResult, ours = 'twinbore'): void {
  const lines = result.series
    .filter(one => one.candidate === ours)
    .flatMap(({ measure, unit, better, samples }) => {
      const mine = median(samples)
      const ratios = result.series
        .filter(one => one.measure === measure && one.candidate !== ours)
        .flatMap(({ candidate, samples: others }) => {
          const their = median(others)
          const ratio = better === 'more' ? mine / their : their / mine
          return Number.isFinite(ratio) ? [`${number(ratio)} times as good as ${candidate}`] : []
        })
      const verdict = judge(result, ours, measure)
      const parts = [...ratios, ...(verdict ? [verdictText(verdict, bound => `${number(bound)} ${unit}`)] : [])]
      return parts.length === 0 ? [] : [`${measure}: ${parts.join('; ')}`]
    })
  if (lines.length > 0) console.log(`\n${lines.join('\n')}`)
}
