// Ten thousand flows, many new ones, and readers that hardly read, through a gateway on ordinary sockets that has no rights.
// The load is our own client in a process of its own: ten sessions, because a client may have 1024 connections by default.
// CHURN_SECONDS=60 is the long form of the test of new flows.
import { chownSync, readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { makeCertificates } from '../lab/certificates.ts'
import { corporateAddress, gatewayAddress, LabNetwork } from '../lab/lab-network.ts'
import type { LabProcess } from '../lab/lab-process.ts'
import { needs } from '../lab/needs.ts'
import { configureGateway, program } from '../lab/twinbore.ts'
import { Workspace } from '../lab/workspace.ts'

const port = 8443
const sessions = 10
const churnSeconds = Number(process.env.CHURN_SECONDS ?? 10)
const churnRate = 1000
/** The gateway admits flows until 80 % of its descriptors are in use; some are its own. */
const flows = Math.min(10_000, Math.floor(descriptorLimit() * 0.8) - 100)
const slowReaders = 50
const MIB = 1024 * 1024

const services = fileURLToPath(new URL('../lab/flow-services.mjs', import.meta.url))
const loadProgram = fileURLToPath(new URL('../lab/flow-load.mjs', import.meta.url))
const tellMemory = fileURLToPath(new URL('../lab/tell-memory.mjs', import.meta.url))
const unprivileged = [
  '--reuid',
  '1000',
  '--regid',
  '1000',
  '--clear-groups',
  '--bounding-set',
  '-all',
  '--no-new-privs',
]

interface Tally {
  readonly done: number
  readonly failures: Readonly<Record<string, number>>
  readonly seconds: number
}

interface Memory {
  readonly rss: number
  readonly heapUsed: number
  readonly external: number
  readonly cpuSeconds: number
}

needs(
  'root',
  'tun',
  'ip',
  'nft',
  'openssl',
  'setpriv',
)('many flows and a gateway without rights', () => {
  let network: LabNetwork
  let workspace: Workspace
  let gateway: LabProcess
  let load: LabProcess

  const command = async <Answer>(line: string, timeoutMs = 150_000): Promise<Answer> => {
    const since = load.mark
    load.write(`${line}\n`)
    const [, answer] = await load.waitFor(/^(\{"command".*\})\n/m, { since, timeoutMs })
    return JSON.parse(answer!) as Answer
  }
  const descriptors = () => readdirSync(`/proc/${gateway.pid}/fd`).length
  const memory = async (): Promise<Memory> => {
    const since = gateway.mark
    gateway.kill('SIGUSR2')
    const [, told] = await gateway.waitFor(/^memory (\{.*\})\n/m, { since })
    return JSON.parse(told!) as Memory
  }
  const heapOf = ({ heapUsed, external }: Memory) => heapUsed + external
  /** The flows that there were are gone, and what they held; returns the memory then. */
  const settled = async (count: number, mostHeap = Number.MAX_VALUE): Promise<Memory> => {
    await expect.poll(descriptors, { timeout: 60_000 }).toBeLessThanOrEqual(count)
    // The last acknowledgements and the collector's second thoughts come after the descriptors.
    let last = await memory()
    const steadyHeap = async () => {
      const previous = last
      last = await memory()
      return heapOf(previous) - heapOf(last) > MIB / 4 ? Number.POSITIVE_INFINITY : heapOf(last)
    }
    await expect.poll(steadyHeap, { timeout: 60_000, interval: 500 }).toBeLessThan(mostHeap)
    return last
  }

  beforeAll(async () => {
    workspace = new Workspace()
    network = await LabNetwork.create()
    const certificates = await makeCertificates(workspace)
    await network.start('corporate', process.execPath, [services, corporateAddress]).waitFor(/ready/)
    const config = await configureGateway(workspace, {
      certificates,
      config: { listen: { address: '0.0.0.0', port }, egress: { mode: 'sockets' } },
    })
    for (const file of [
      config,
      workspace.path('users.yaml'),
      certificates.gateway.certificate,
      certificates.gateway.key,
    ])
      chownSync(file, 1000, 1000)
    gateway = network.start('gateway', 'setpriv', [
      ...unprivileged,
      process.execPath,
      '--expose-gc',
      '--import',
      tellMemory,
      program,
      'gateway',
      '--config',
      config,
    ])
    await gateway.waitFor(/\b8443\b.*\n/, { stdoutOnly: true })
    const url = `https://${gatewayAddress}:${port}`
    load = network.start(
      'client',
      process.execPath,
      [loadProgram, url, certificates.gatewayPin, 'alice', 'secret', corporateAddress, `${sessions}`],
      { input: '', keepInputOpen: true },
    )
    await load.waitFor(/ready/, { timeoutMs: 60_000 })
    // What is made once is made before anything is measured.
    expect(await command<Tally>('churn 1 500')).toMatchObject({ failures: {} })
  })
  afterAll(async () => {
    await network?.close()
    workspace?.remove()
  })

  test(`${flows} flows at once: each gets its echo, none is lost, and all memory comes back`, {
    timeout: 400_000,
  }, async () => {
    if (flows < 10_000) console.log(`${flows} flows instead of 10000: the limit of open files is ${descriptorLimit()}`)
    const idle = descriptors()
    const round = async (mostHeap: number) => {
      const opened = await command<Tally>(`open ${flows}`)
      expect(opened).toMatchObject({ done: flows, failures: {} })
      expect(descriptors() - idle).toBe(flows)
      const open = await memory()
      const answered = await command<Tally>('echo')
      expect(answered).toMatchObject({ done: flows, failures: {} })
      const echoed = await memory()
      const ended = await command<Tally>('close')
      expect(ended).toMatchObject({ done: flows, failures: {} })
      const seconds = [opened, answered, ended].map(({ seconds }) => seconds.toFixed(1))
      return { seconds, open, echoed, closed: await settled(idle, mostHeap) }
    }
    const before = await memory()
    // The stack keeps up to 16 MiB of buffers for whoever comes next, and tables as long as they once were.
    const first = await round(heapOf(before) + 16 * MIB + flows * 1536)
    const second = await round(heapOf(first.closed) + 2 * MIB)
    const kilobytesAFlow = (bytes: number) => (bytes / flows / 1024).toFixed(1)
    const perFlow = (heapOf(first.echoed) - heapOf(before)) / flows
    console.log(
      `${flows} flows in ${sessions} sessions, opened, answered, ended in ${first.seconds} s; KiB a flow: ` +
        `${kilobytesAFlow(heapOf(first.open) - heapOf(before))} of heap when open, ` +
        `${kilobytesAFlow(heapOf(first.echoed) - heapOf(before))} after its echo, ` +
        `${kilobytesAFlow(first.echoed.rss - before.rss)} of RSS. Heap when all are closed, in MiB: ` +
        `${[before, first.closed, second.closed].map(one => (heapOf(one) / MIB).toFixed(1)).join(' -> ')}`,
    )
    expect(perFlow).toBeLessThan(32 * 1024)
  })

  test(`new flows for ${churnSeconds} s leave no descriptor and no heap behind`, {
    timeout: (churnSeconds + 170) * 1000,
  }, async () => {
    const idle = descriptors()
    // A first round fills what is kept for reuse.
    await command<Tally>(`churn ${Math.min(churnSeconds, 5)} ${churnRate}`)
    const before = await settled(idle)
    const { done, failures, seconds } = await command<Tally>(
      `churn ${churnSeconds} ${churnRate}`,
      (churnSeconds + 60) * 1000,
    )
    expect(failures).toEqual({})
    expect(done).toBeGreaterThan(0)
    const after = await settled(idle, heapOf(before) + 4 * MIB)
    console.log(
      `${done} flows in ${seconds.toFixed(1)} s, ${(done / seconds).toFixed(0)} a second of ${churnRate} asked for, ` +
        `${(((after.cpuSeconds - before.cpuSeconds) * 1000) / done).toFixed(2)} ms of the gateway's processor each: ` +
        `heap ${(heapOf(before) / MIB).toFixed(1)} -> ${(heapOf(after) / MIB).toFixed(1)} MiB, ` +
        `RSS ${(before.rss / MIB).toFixed(0)} -> ${(after.rss / MIB).toFixed(0)} MiB, ${descriptors()} descriptors`,
    )
  })

  test(`${slowReaders} readers of 1 kB/s hold what they may, and slow nobody else`, async () => {
    const idle = descriptors()
    const before = await memory()
    await command(`slow ${slowReaders}`)
    for (const session of [1, 0]) {
      const told = await command<{ bytes: number; seconds: number }>(`download ${session}`)
      expect(told.bytes).toBe(10_000_000)
      console.log(`10 MB beside slow readers, session ${session}: ${told.seconds.toFixed(1)} s`)
    }
    const during = await memory()
    const held = heapOf(during) - heapOf(before)
    console.log(
      `${slowReaders} slow readers of 10 MB each: ${(held / MIB).toFixed(1)} MiB of heap, ` +
        `RSS ${(before.rss / MIB).toFixed(0)} -> ${(during.rss / MIB).toFixed(0)} MiB`,
    )
    // Buffers of one client are 64 MiB at most, and each socket may have read one chunk more. They ask for 500 MB.
    expect(held).toBeLessThan(64 * MIB + slowReaders * 128 * 1024 + 4 * MIB)
    const { alive, read } = await command<{ alive: number; read: number[] }>('abandon')
    expect(alive).toBe(slowReaders)
    expect(Math.min(...read)).toBeGreaterThanOrEqual(3000)
    await settled(idle, heapOf(before) + 16 * MIB)
  })

  test('nothing went wrong inside', () => {
    expect(gateway.hasEnded).toBe(false)
    expect(gateway.output).not.toMatch(/unhandled|uncaught|InvariantError|too many files/i)
  })
})

/** Of processes that this one starts. Node raises its own to the hard limit, so that one counts. */
function descriptorLimit(): number {
  const hard = /^Max open files\s+\S+\s+(\d+|unlimited)/m.exec(readFileSync('/proc/self/limits', 'latin1'))![1]!
  return hard === 'unlimited' ? Number.MAX_SAFE_INTEGER : Number(hard)
}
