// The demonstration as its user starts it: the built program. Where it is joined by a client with an interface of the
// system, the computer that both believe to be on is a network namespace, so that nothing of this one is touched.
import { type ChildProcessWithoutNullStreams, execFileSync, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { chown, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { needs } from '../../../../tests/lab/needs.ts'

const bin = fileURLToPath(new URL('../../dist/bin.js', import.meta.url))
const computer = `twinbore-demo-test-${process.pid}`
const onComputer = [`--net=/run/netns/${computer}`, '--']

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'twinbore-demo-'))
})
afterAll(() => rm(folder, { recursive: true }))

describe('the demonstration', () => {
  beforeEach(() => rm(join(folder, '.twinbore'), { recursive: true, force: true }))

  test('shows both channels, a failover and the address that the intranet saw, and ends', async () => {
    const { code, stdout, stderr } = await finished(start(['demo', '--once', '--port', '0']))
    expect({ code, stderr }, stdout).toEqual({ code: 0, stderr: '' })
    expectShow(stdout)
  })

  test('stays up with commands to copy, and takes everything back on SIGINT', async () => {
    const child = start(['demo', '--port', '0'])
    const finish = finished(child)
    await said(child, 'Our own client', '--server-pin=pin-sha256:', '\n\n')
    child.kill('SIGINT')
    const { code, stdout } = await finish
    expect(code).toBe(0)
    const url = /https:\/\/127\.0\.0\.1:\d+/.exec(stdout)?.[0]
    expect(stdout).toMatch(
      new RegExp(
        `openconnect --user=demo --passwd-on-stdin --servercert=pin-sha256:[\\w+/]{43}= --script=.twinbore/own-namespace.sh ${url} < .twinbore/demo-password`,
      ),
    )
    expect(stdout).toMatch(new RegExp(`bin\\.js connect ${url} --user=demo --password-file=.twinbore/demo-password`))
    for (const file of ['own-namespace.sh', 'demo-password', 'ca.crt']) {
      expect(existsSync(join(folder, '.twinbore', file)), file).toBe(true)
    }
  })
})

needs('root', 'setpriv')('the demonstration of an ordinary user', () => {
  test('needs no right at all', async () => {
    const own = await mkdtemp(join(tmpdir(), 'twinbore-demo-'))
    try {
      await chown(own, 65_534, 65_534)
      // One right stays: to read files, so that it does not matter where the repository is.
      const words = ['--reuid=65534', '--regid=65534', '--clear-groups', '--bounding-set=-all,+dac_read_search']
      const reading = ['--inh-caps=+dac_read_search', '--ambient-caps=+dac_read_search', '--no-new-privs']
      const program = [process.execPath, bin, 'demo', '--once', '--port', '0']
      const options = { cwd: own, timeout: 60_000, killSignal: 'SIGKILL', env: { PATH: process.env.PATH } } as const
      const { code, stdout, stderr } = await finished(spawn('setpriv', [...words, ...reading, ...program], options))
      expect({ code, stderr }, stdout).toEqual({ code: 0, stderr: '' })
      expectShow(stdout)
    } finally {
      await rm(own, { recursive: true })
    }
  })
})

needs(
  'root',
  'tun',
  'ip',
  'openconnect',
  'curl',
)('the commands that the demonstration prints', () => {
  let demo: ChildProcessWithoutNullStreams
  let demoFinished: ReturnType<typeof finished>
  let text: string
  beforeAll(async () => {
    makeComputer()
    demo = spawnOn(process.execPath, [bin, 'demo', '--port', '0'])
    demoFinished = finished(demo)
    text = await said(demo, 'Our own client', '--server-pin=pin-sha256:', '\n\n')
  })
  afterAll(async () => {
    demo.kill('SIGINT')
    await demoFinished
    removeComputer()
  })

  test('connect a stock client, which reaches the intranet through its namespace', async () => {
    const datagram = said(demo, 'connected from 127.0.0.1', 'uses the datagram channel')
    const openconnect = shell(commandOf(text, 'openconnect '))
    const finish = finished(openconnect)
    // Said when its script is done.
    await said(openconnect, 'Configured as 192.168.77.')
    await datagram
    const page = await finished(shell(commandOf(text, 'ip netns exec ')))
    expect(page.stdout).toBe('Welcome to the intranet.\n')
    const left = said(demo, 'left: user-left')
    openconnect.kill('SIGINT')
    await finish
    expect(await left).toMatch(/^demo \(192\.168\.77\.\d+\) left: user-left, \d+ bytes out, \d+ bytes in$/m)
    expect(execFileSync('ip', ['netns', 'list'], { encoding: 'utf8' })).not.toContain('twinbore-client')
  })

  test('connect our own client', async () => {
    const client = shell(commandOf(text, 'node '))
    const finish = finished(client)
    await said(client, 'ready: connected to https://127.0.0.1:')
    client.kill('SIGTERM')
    expect((await finish).code).toBe(0)
  })
})

/** The printed command that begins so. */
function commandOf(text: string, beginning: string): string {
  return text
    .split('\n')
    .find(line => line.startsWith(`  ${beginning}`))!
    .trim()
}

/** Runs a command as a terminal would; a signal to it reaches the program itself. */
function shell(command: string): ChildProcessWithoutNullStreams {
  return spawnOn('sh', ['-c', `exec ${command}`])
}

function start(words: readonly string[]): ChildProcessWithoutNullStreams {
  return spawn(process.execPath, [bin, ...words], { cwd: folder, timeout: 60_000, killSignal: 'SIGKILL' })
}

function expectShow(stdout: string): void {
  expect(stdout).toContain(`made a certificate authority and a user 'demo' in .twinbore/\n`)
  expect(stdout).toMatch(/^intranet +a web server on 127\.0\.0\.1 port \d+; clients find it at http:\/\/[\d.]+\/$/m)
  expect(stdout).toMatch(/^gateway +127\.0\.0\.1 port \d+, TCP and UDP; /m)
  expect(stdout).toMatch(/^client +inside this process, logged in as demo: has [\d.]+$/m)
  expect(stdout).toMatch(/^ +stream channel up \(TLS over TCP\) after /m)
  expect(stdout).toMatch(/^ +datagram channel up \(DTLS over UDP\) after /m)
  expect(stdout).toMatch(/^fetch +http:\/\/[\d.]+\/ through the tunnel: Welcome to the intranet\.$/m)
  for (const channel of ['datagram', 'stream']) {
    const figures = `^${channel} +a page, median of 20 +[\\d.]+ ms\n +8 MB to the intranet +[1-9]\\d* Mbit/s\n +8 MB back, SHA-256 equal +[1-9]\\d* Mbit/s$`
    expect(stdout).toMatch(new RegExp(figures, 'm'))
  }
  expect(stdout).toMatch(/^UDP cut .* moved to the stream channel, out for /m)
  expect(stdout).toMatch(/^UDP back .* returned to the datagram channel after /m)
  expect(stdout).toContain(`the client as 127.0.0.1, which is the gateway's own address; nobody from `)
  const megabytes = /^ +\d+ requests; (\d+) MB passed the tunnel in packets$/m.exec(stdout)?.[1]
  // 8 MB there and back by each channel, and what warms up.
  expect(Number(megabytes)).toBeGreaterThanOrEqual(36)
}

/** Waits until a program has written these words, one after the other, and returns all that it wrote meanwhile. */
function said(child: ChildProcessWithoutNullStreams, ...words: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = ''
    const listen = (bytes: Buffer) => {
      text += bytes.toString()
      const end = words.reduce((from, word) => (from < 0 ? -1 : text.indexOf(word, from)), 0)
      if (end >= 0) resolve(text)
    }
    child.stdout.on('data', listen)
    child.stderr.on('data', listen)
    child.on('close', () => reject(new Error(`ended without saying ${words.join(' ')}:\n${text}`)))
  })
}

function makeComputer(): void {
  execFileSync('ip', ['netns', 'add', computer])
  execFileSync('ip', ['-n', computer, 'link', 'set', 'lo', 'up'])
}

function removeComputer(): void {
  execFileSync('ip', ['netns', 'delete', computer])
}

/** Starts a program on the computer; a signal to the child reaches the program itself. */
function spawnOn(program: string, words: readonly string[]): ChildProcessWithoutNullStreams {
  const options = { cwd: folder, timeout: 60_000, killSignal: 'SIGKILL' } as const
  return spawn('nsenter', [...onComputer, program, ...words], options)
}

function finished(
  child: ChildProcessWithoutNullStreams,
): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const texts = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].on('data', (bytes: Buffer) => {
      texts[name] += bytes.toString()
    })
  }
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', code => resolve({ code, ...texts }))
  })
}
