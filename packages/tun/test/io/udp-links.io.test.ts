// The native socket in a network namespace of its own: links with an MTU, zones, a neighbour that does not answer.
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { mustRun, runProgram } from '../../../../tests/lab/lab-process.ts'
import { needs } from '../../../../tests/lab/needs.ts'

const script = fileURLToPath(new URL('./udp-host.ts', import.meta.url))
const namespace = `udp-${process.pid}`
const ip = (...words: string[]): Promise<string> => mustRun('ip', ['-n', namespace, ...words])

needs('root', 'ip')('the native socket', () => {
  beforeAll(async () => {
    await mustRun('ip', ['netns', 'add', namespace])
    await ip('link', 'set', 'lo', 'mtu', '1500', 'up')
    await ip('link', 'add', 'v0', 'type', 'veth', 'peer', 'name', 'v1')
    await ip('addr', 'add', '10.77.0.1/24', 'dev', 'v0')
    await ip('addr', 'add', 'fe80::a/64', 'dev', 'v0', 'nodad')
    await ip('addr', 'add', 'fe80::b/64', 'dev', 'v1', 'nodad')
    await ip('link', 'set', 'v0', 'up')
    await ip('link', 'set', 'v1', 'up')
  })
  afterAll(() => runProgram('ip', ['netns', 'del', namespace]))

  test('falls back to single datagrams where trains do not fit, knows zones, and says when there is no room', async () => {
    const words = ['--import', 'tsx', '--conditions=@twinbore/source', script]
    const results = JSON.parse(await mustRun(process.execPath, words, { namespace }))
    const numbers = (count: number) => Array.from({ length: count }, (_, i) => i)
    expect(results.fitting).toMatchObject({ sent: 40, values: numbers(40), trainsSent: 1, trainsRefused: 0 })
    expect(results.fragmented).toMatchObject({ sent: 20, values: numbers(20), trainsSent: 1, trainsRefused: 1 })
    expect(results.fragmented6).toMatchObject({ sent: 20, values: numbers(20), trainsSent: 1, trainsRefused: 2 })
    expect(results.again).toMatchObject({ sent: 20, values: numbers(20), trainsRefused: 2, sendErrors: 0 })
    expect(results.linkLocal).toMatchObject({ sent: 3, values: numbers(3) })
    expect(results.linkLocal.from).toMatch(/^fe80::.+%v1$/)
    expect(results.noSuchZone).toMatchObject({ sent: 0, sendErrors: 1 })
    const { sent, dropped, counted } = results.nobody
    expect(sent).toBeGreaterThan(0)
    expect(dropped).toBeGreaterThan(0)
    expect([sent + dropped, counted]).toEqual([64, dropped])
  })
})
