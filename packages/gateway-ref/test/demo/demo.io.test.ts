// The demonstration as its user starts it: the built program, with a gateway, a TUN and a network namespace for its intranet.
// The computer that it believes to be on is a network namespace too, so that nothing of this one is touched.
import { type ChildProcessWithoutNullStreams, execFileSync, spawn } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { needs } from '../../../../tests/lab/needs.ts'

const bin = fileURLToPath(new URL('../../dist/bin.js', import.meta.url))
const computer = `twinbore-demo-test-${process.pid}`
const onComputer = [`--net=/run/netns/${computer}`, '--']

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'twinbore-demo-'))
})
afterAll(() => rm(folder, { recursive: true }))

needs(
  'root',
  'tun',
  'ip',
  'nft',
)('the demonstration', () => {
  beforeAll(makeComputer)
  afterAll(removeComputer)

  test('shows both channels, a failover and the translated address, and leaves nothing behind', async () => {
    const child = start(['demo', '--once', '--port', '0'])
    const { code, stdout, stderr } = await finished(child)
    expect({ code, stderr }, stdout).toEqual({ code: 0, stderr: '' })
    expect(stdout).toContain(`made a certificate authority and a user 'demo' in .twinbore/\n`)
    const gatewayAddress = /^gateway +127\.0\.0\.1 port \d+, TCP and UDP; ([\d.]+) towards the intranet$/m.exec(
      stdout,
    )?.[1]
    expect(gatewayAddress).toMatch(/^203\.0\.113\.\d+$/)
    expect(stdout).toMatch(/^client +inside this process, logged in as demo: has 192\.168\.77\.\d+$/m)
    expect(stdout).toMatch(/^ +stream channel up \(TLS over TCP\) after /m)
    expect(stdout).toMatch(/^ +datagram channel up \(DTLS over UDP\) after /m)
    for (const channel of ['datagram', 'stream']) {
      const figures = `^${channel} +round trip +[\\d.]+ ms\n +8 MB to the intranet +[1-9]\\d* Mbit/s\n +8 MB back, SHA-256 equal +[1-9]\\d* Mbit/s$`
      expect(stdout).toMatch(new RegExp(figures, 'm'))
    }
    expect(stdout).toMatch(/^UDP cut .* moved to the stream channel, out for /m)
    expect(stdout).toMatch(/^UDP back .* returned to the datagram channel after /m)
    expect(stdout).toContain(`the client as ${gatewayAddress}, which is the gateway's own address\n`)
    const packets = /^ +(\d+) packets, none of them with an address of the pool/m.exec(stdout)?.[1]
    // 8 MB there and back by each channel, in chunks of 1200 bytes.
    expect(Number(packets)).toBeGreaterThan((4 * 8_000_000) / 1200 - 10)
    await gone(child.pid!)
    expect(ownTables()).toEqual([])
  })

  test('stays up with commands to copy, and takes everything back on SIGINT', async () => {
    const child = start(['demo', '--port', '0'])
    const finish = finished(child)
    await said(child, 'Our own client')
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
    await gone(child.pid!)
    expect(ownTables()).toEqual([])
  })

  test('takes its intranet with it when it is killed; the next one clears up the rest', async () => {
    const child = start(['demo', '--port', '0'])
    const finish = finished(child)
    await said(child, 'gateway ')
    expect(links()).toContain(`tbd${child.pid}`)
    child.kill('SIGKILL')
    await finish
    await gone(child.pid!)
    expect(ownTables()).toHaveLength(1)
    const next = await finished(start(['demo', '--once', '--port', '0']))
    expect(next.code, next.stderr).toBe(0)
    expect(ownTables()).toEqual([])
  })

  test('says in one line what an ordinary user lacks, and makes nothing', async () => {
    // The right to read files stays, so that it does not matter where the repository is.
    const ordinary = ['--reuid=65534', '--regid=65534', '--clear-groups']
    const reading = ['--inh-caps=+dac_read_search', '--ambient-caps=+dac_read_search']
    const words = [...ordinary, ...reading, process.execPath, bin, 'demo', '--once', '--directory', 'none']
    const { code, stdout, stderr } = await finished(spawnOn('setpriv', words))
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    expect(stderr).toMatch(/^twinbore: the demonstration needs root, for .*\n$/)
    expect(readdirSync(folder)).not.toContain('none')
  })
})

needs(
  'root',
  'tun',
  'ip',
  'nft',
  'openconnect',
  'ping',
)('the commands that the demonstration prints', () => {
  let demo: ChildProcessWithoutNullStreams
  let demoFinished: ReturnType<typeof finished>
  let text: string
  beforeAll(async () => {
    makeComputer()
    demo = start(['demo', '--port', '0'])
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
    const ping = await finished(shell(commandOf(text, 'ip netns exec ')))
    expect(ping.stdout).toContain(' 0% packet loss')
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
  return spawnOn(process.execPath, [bin, ...words])
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

/** The names of the computer's interfaces. */
function links(): string[] {
  const text = execFileSync('ip', ['-n', computer, '-j', 'link'], { encoding: 'utf8' })
  return (JSON.parse(text) as { ifname: string }[]).map(({ ifname }) => ifname)
}

/** The tables of rules that a demonstration's gateway has now. */
function ownTables(): string[] {
  const tables = execFileSync('nsenter', [...onComputer, 'nft', 'list', 'tables'], { encoding: 'utf8' }).split('\n')
  return tables.filter(name => name.endsWith(' twinbore-demo'))
}

/** The link goes when the kernel has cleared the namespace away: soon, but nobody tells when. */
async function gone(pid: number): Promise<void> {
  await expect.poll(links, { timeout: 20_000 }).not.toContain(`tbd${pid}`)
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
