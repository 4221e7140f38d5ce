// Results side by side: two of one bench, and two candidates of one result.
import { type BenchResult, columns, median, number, readResult } from './result.ts'

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

/** Prints, for every measure, how many times as good as `theirs` the candidate `ours` is. */
export function compareCandidates({ series }: BenchResult, ours: string, theirs: string): void {
  console.log('')
  for (const { candidate, measure, better, samples } of series) {
    const other = series.find(one => one.candidate === theirs && one.measure === measure)
    if (candidate !== ours || !other) continue
    const [mine, their] = [median(samples), median(other.samples)]
    console.log(
      `${measure}: ${(better === 'more' ? mine / their : their / mine).toFixed(2)} times as good as ${theirs}`,
    )
  }
}
