// Closes a test run with what a reader wants to know: what was skipped and why, what failed by name, and the totals.
import { appendFileSync } from 'node:fs'
import { relative } from 'node:path'
import type { Reporter, TestCase, TestModule, TestSuite } from 'vitest/node'
import { skipMark } from './needs.ts'

interface Totals {
  passed: number
  failed: number
  skipped: number
}

/** A vitest reporter; with `TEST_TOTALS=FILE` it also appends its totals to that file, one JSON object a line. */
export default class SummaryReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], errors: readonly unknown[]): void {
    const totals: Totals = { passed: 0, failed: 0, skipped: 0 }
    const skipped = new Map<string, number>()
    const failed: string[] = []
    for (const module of modules) {
      const file = relative(process.cwd(), module.moduleId)
      for (const test of module.children.allTests()) count(test, file, totals, skipped, failed)
      for (const suite of module.children.allSuites()) {
        if (suite.errors().length > 0) failed.push(`${file}: ${suite.fullName} (outside its tests)`)
      }
      if (module.errors().length > 0) failed.push(`${file} (outside its tests)`)
    }
    // A file that cannot be loaded, a hook that throws and an unhandled rejection have no test of their own.
    totals.failed = failed.length + errors.length

    const print = (line: string): void => void process.stdout.write(`${line}\n`)
    if (skipped.size > 0) {
      print('\nSkipped on this machine:')
      for (const [reason, tests] of skipped) print(`  ${reason}: ${tests} ${tests === 1 ? 'test' : 'tests'}`)
    }
    if (failed.length > 0) {
      print('\nFailed:')
      for (const name of failed) print(`  ${name}`)
    }
    if (process.env.CI === 'true' && totals.skipped > 0) {
      print('\nIn CI a skipped test is a failure.')
      totals.failed += totals.skipped
      totals.skipped = 0
      process.exitCode = 1
    }
    const tail = totals.skipped > 0 ? `, ${totals.skipped} skipped` : ''
    print(`\n${totals.passed} passed, ${totals.failed} failed${tail}`)
    const file = process.env.TEST_TOTALS
    if (file) appendFileSync(file, `${JSON.stringify(totals)}\n`)
  }
}

function count(test: TestCase, file: string, totals: Totals, skipped: Map<string, number>, failed: string[]): void {
  const { state } = test.result()
  if (state === 'passed') totals.passed += 1
  else if (state === 'failed') failed.push(`${file}: ${test.fullName}`)
  else if (!isBehindFailure(test)) {
    totals.skipped += 1
    const reason = skipReason(test) ?? `${file}: ${test.fullName}`
    skipped.set(reason, (skipped.get(reason) ?? 0) + 1)
  }
}

// A test that never ran because a hook around it threw: the suite's failure tells of it.
function isBehindFailure(test: TestCase): boolean {
  for (let parent: TestSuite | TestModule = test.parent; ; parent = parent.parent) {
    if (parent.errors().length > 0) return true
    if (parent.type === 'module') return false
  }
}

// The suite's own title and what it needs, or nothing for a test that is skipped for another reason.
function skipReason(test: TestCase): string | undefined {
  for (let parent: TestSuite | TestModule = test.parent; parent.type === 'suite'; parent = parent.parent) {
    const at = parent.name.indexOf(skipMark)
    if (at >= 0) return `${parent.name.slice(0, at).trim()}: needs ${parent.name.slice(at + skipMark.length, -1)}`
  }
  return undefined
}
