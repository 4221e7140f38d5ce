import { writeFileSync } from 'node:fs'
import { renderChart } from './chart.ts'
import { chartFile, readResult } from './result.ts'

/** Draws the chart of a result file anew, beside it. */
export function writeChart(jsonFile: string): void {
  const file = chartFile(jsonFile)
  writeFileSync(file, renderChart(readResult(jsonFile)))
  console.log(`Written to ${file}`)
}
