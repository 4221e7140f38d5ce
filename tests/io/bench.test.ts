// The benches run to their end and measure something, on one round that is as short as it can be; how much is not judged.
// And what they do with figures: statistics, goals, charts.
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, test } from 'vitest'
import { judge } from '../../bench/goals.ts'
import { axisTicks, renderChart } from '../../bench/harness/chart.ts'
import type { BenchResult } from '../../bench/harness/result.ts'
import { fairness, quantile } from '../../bench/harness/statistics.ts'
import { runProgram } from '../lab/lab-process.ts'
import { needs } from '../lab/needs.ts'
import { Workspace } from '../lab/workspace.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))
const workspace = new Workspace()
afterAll(() => workspace.remove())

/** Runs one bench for one round and returns its result. */
async function runBench(name: string, ...words: string[]): Promise<BenchResult> {
  const json = workspace.path(`${name}.json`)
  const args = [`${root}node_modules/tsx/dist/cli.mjs`, `${root}bench/bench.ts`, name, '--rounds', '1', '--json', json]
  const { code, output } = await runProgram(process.execPath, [...args, ...words], { timeoutMs: 170_000 })
  expect(code, output).toBe(0)
  const result = JSON.parse(readFileSync(json, 'utf8')) as BenchResult
  expect(result).toMatchObject({ bench: name, node: process.versions.node })
  for (const { candidate, measure, samples } of result.series) {
    expect(samples.every(Number.isFinite), `${candidate}, ${measure}: ${samples}`).toBe(true)
  }
  expect(readFileSync(workspace.path(`${name}.svg`), 'utf8')).toContain(`<title>${name}: medians of 1 rounds`)
  return result
}

function medians(result: BenchResult, candidate: string): Record<string, number> {
  const series = result.series.filter(one => one.candidate === candidate)
  return Object.fromEntries(series.map(({ measure, samples }) => [measure, quantile(samples, 0.5)]))
}

describe('benches without privileges', () => {
  test('records', { timeout: 180_000 }, async () => {
    const result = await runBench('records')
    for (const candidate of ['dtls node', 'openssl speed']) {
      expect(Object.values(medians(result, candidate)).every(value => value > 0)).toBe(true)
    }
  })

  test('pat', { timeout: 180_000 }, async () => {
    expect(medians(await runBench('pat'), 'median')).toMatchObject({ 'memory of one UDP flow': expect.any(Number) })
  })

  test('routes', async () => {
    const result = await runBench('routes', '--vs', 'cidr-tools,ipaddr.js', '--seconds', '0.005')
    expect(medians(result, 'twinbore')['longest of 100 prefixes']).toBeGreaterThan(0)
    expect(medians(result, 'ipaddr.js')['longest of 100 prefixes']).toBeGreaterThan(0)
    expect(medians(result, 'cidr-tools')['merge 100 prefixes']).toBeGreaterThan(0)
  })
})

needs('openssl')('the bench of handshakes', () => {
  test('counts those of ours and of openssl', async () => {
    const result = await runBench('handshake', '--vs', 'openssl', '--count', '10')
    for (const candidate of ['twinbore', 'openssl']) {
      expect(medians(result, candidate)['through sockets, one at a time']).toBeGreaterThan(0)
    }
  })
})

needs(
  'root',
  'tun',
  'ip',
  'nft',
  'openssl',
  'ocserv',
  'openconnect',
  'iperf3',
  'ping',
  'setpriv',
)('benches in network namespaces', () => {
  // Of the peers those that the machine has: wireguard-go and OpenVPN are not asked for anywhere else.
  test('tunnel', { timeout: 180_000 }, async () => {
    const result = await runBench('tunnel', '--vs', 'ocserv,wireguard-go,openvpn', '--seconds', '1')
    const peers = result.options.vs as string[]
    expect(peers).toContain('ocserv')
    for (const candidate of ['twinbore', ...peers]) {
      const found = medians(result, candidate)
      for (const measure of ['up: throughput', 'down: gateway CPU', 'idle: RTT p50']) {
        expect(found[measure], `${candidate}, ${measure}`).toBeGreaterThan(0)
      }
    }
    expect(medians(result, 'twinbore')['down: packets per send']).toBeGreaterThan(0)
  })

  test('tunnel with small packets and our client', { timeout: 180_000 }, async () => {
    const result = await runBench('tunnel', '--udp64', '--client', 'twinbore', '--direction', 'up', '--seconds', '1')
    expect(medians(result, 'twinbore')['64-byte UDP up: delivered']).toBeGreaterThan(0)
  })

  test('sessions', { timeout: 180_000 }, async () => {
    const words = ['--sessions', '8', '--settle', '0.5', '--seconds', '1']
    const result = await runBench('sessions', '--vs', 'ocserv', ...words)
    for (const candidate of ['twinbore', 'ocserv']) {
      const found = medians(result, candidate)
      for (const measure of ['new sessions', 'all sessions: throughput', 'few packets, alone: RTT p50']) {
        expect(found[measure], `${candidate}, ${measure}`).toBeGreaterThan(0)
      }
    }
  })

  test('failover', { timeout: 180_000 }, async () => {
    const result = await runBench('failover', '--dpd', '1')
    expect(medians(result, 'twinbore, openconnect')['UDP cut: gap in traffic']).toBeGreaterThan(0)
  })

  test('stack', { timeout: 180_000 }, async () => {
    expect(medians(await runBench('stack', '--seconds', '1'), 'twinbore')['up: throughput']).toBeGreaterThan(0)
  })
})

describe('figures', () => {
  const result: BenchResult = {
    bench: 'tunnel',
    startedAt: '2026-01-01T00:00:00.000Z',
    commit: 'abc',
    cpu: 'a & b',
    cores: 2,
    kernel: '6.1',
    node: '20.19.0',
    openssl: '3.0.0',
    options: { client: 'openconnect', stream: false, family: 4 },
    series: [
      { candidate: 'twinbore', measure: 'down: gateway CPU', unit: 's/GB', better: 'less', samples: [2, 1.8, 1.9] },
      { candidate: 'ocserv', measure: 'down: gateway CPU', unit: 's/GB', better: 'less', samples: [8, 9, 7] },
    ],
  }

  test('quantiles lie between neighbours', () => {
    expect(quantile([4, 1, 3, 2], 0.5)).toBe(2.5)
    expect(quantile([10], 0.95)).toBe(10)
    expect(quantile([0, 100], 0.95)).toBeCloseTo(95)
  })

  test("Jain's index is 1 for equal shares and 1/n for one taker", () => {
    expect(fairness([5, 5, 5, 5])).toBe(1)
    expect(fairness([1, 0, 0, 0])).toBe(0.25)
  })

  test('a goal is relative to the peer of the same run, and missed by how much', () => {
    const verdict = judge(result, 'twinbore', 'down: gateway CPU')
    expect(verdict?.must).toEqual({ bound: 2, missedBy: expect.closeTo(-0.05) })
    expect(verdict?.aim).toEqual({ bound: expect.closeTo(1.6), missedBy: expect.closeTo(0.1875) })
    expect(judge({ ...result, options: { ...result.options, family: 6 } }, 'twinbore', 'down: gateway CPU')).toBe(
      undefined,
    )
  })

  test('axes begin at 0, go in even steps, and hold the greatest value', () => {
    expect(axisTicks(4.2)).toEqual([0, 1, 2, 3, 4, 5])
    expect(axisTicks(0)).toEqual([0, 1])
    for (const most of [0.0123, 1, 99, 100, 101, 123_456]) {
      const ticks = axisTicks(most)
      expect(ticks.at(-1)).toBeGreaterThanOrEqual(most)
      expect(ticks.length).toBeLessThanOrEqual(7)
    }
  })

  test('a chart names candidates, unit and machine, with text escaped', () => {
    const svg = renderChart(result)
    for (const text of [
      '>twinbore<',
      '>ocserv<',
      '>s/GB<',
      'a &amp; b',
      'less is better',
      'prefers-color-scheme: dark',
    ]) {
      expect(svg).toContain(text)
    }
    expect(svg.match(/<rect /g)).toHaveLength(2)
  })
})
