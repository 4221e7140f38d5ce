// The userspace stack against the kernel's, through a TUN in a network namespace of its own.
import { randomFillSync } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { LabProcess, mustRun, runProgram } from '../../../../tests/lab/lab-process.ts'
import { needs } from '../../../../tests/lab/needs.ts'

const script = fileURLToPath(new URL('./netstack-host.ts', import.meta.url))
const namespace = `netstack-${process.pid}`
const families = [
  { name: 'IPv4', far: '198.51.100.7', target: '198.51.100.7', own: '10.88.0.2', kernel: '10.88.0.1' },
  { name: 'IPv6', far: '2001:db8:ff::7', target: '[2001:db8:ff::7]', own: 'fd88::2', kernel: 'fd88::1' },
]

needs(
  'root',
  'tun',
  'ip',
  'ping',
  'socat',
)('the userspace stack and the kernel', () => {
  let host: LabProcess
  let folder: string

  const start = async (mode: 'gateway' | 'client'): Promise<void> => {
    const words = ['--import', 'tsx', '--conditions=@twinbore/source', script, 'ns-test', mode]
    host = new LabProcess(process.execPath, words, { namespace, input: '', keepInputOpen: true })
    await host.waitFor(/"ready"/)
    const ip = (...more: string[]): Promise<string> => mustRun('ip', ['-n', namespace, ...more])
    await ip('route', 'add', 'default', 'dev', 'ns-test')
    await ip('-6', 'route', 'add', 'default', 'dev', 'ns-test')
  }
  const ping = (...words: string[]) => runProgram('ping', ['-n', '-W', '5', ...words], { namespace })
  const shell = (command: string) => runProgram('sh', ['-c', command], { namespace })
  const order = async (what: object, answer: RegExp): Promise<string> => {
    const { mark } = host
    host.write(`${JSON.stringify(what)}\n`)
    return (await host.waitFor(answer, { since: mark }))[0]
  }

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'netstack-'))
    await mustRun('ip', ['netns', 'add', namespace])
    await mustRun('ip', ['-n', namespace, 'link', 'set', 'lo', 'up'])
  })

  afterEach(async () => {
    await host?.stop('SIGKILL')
    await mustRun('ip', ['netns', 'del', namespace])
    rmSync(folder, { recursive: true })
  })

  test.each(families)(
    'the kernel reaches any host through a gateway stack ($name)',
    async ({ name, far, target, own }) => {
      await start('gateway')
      const v4 = name === 'IPv4'
      for (const address of [own, far]) {
        expect((await ping('-c', '3', '-i', '0.1', address)).output).toMatch(/3 received/)
        // In pieces both ways.
        expect((await ping('-c', '1', '-s', '6000', address)).output).toMatch(/1 received/)
      }
      expect((await ping('-c', '1', '-t', '1', far)).output).toMatch(
        v4 ? /From 10.88.0.2 .*Time to live/ : /Time exceeded/,
      )

      const sent = randomFillSync(new Uint8Array(5_000_000))
      writeFileSync(join(folder, 'in'), sent)
      await shell(`socat -t 60 - TCP:${target}:7 < ${folder}/in > ${folder}/out`)
      expect(Buffer.compare(readFileSync(join(folder, 'out')), sent)).toBe(0)

      const protocol = v4 ? 'TCP4' : 'TCP6'
      const refusals: [number, RegExp][] = [
        [9, /Connection refused/],
        [10, /No route to host/],
        [11, /Network is unreachable/],
        [12, v4 ? /No route to host/ : /Permission denied/],
        [13, /Connection refused/],
      ]
      for (const [port, message] of refusals) {
        expect((await shell(`socat - ${protocol}:${target}:${port} < /dev/null`)).output, `port ${port}`).toMatch(
          message,
        )
      }

      writeFileSync(join(folder, 'datagram'), sent.subarray(0, 9000))
      await shell(`socat -t 2 -b 20000 - UDP:${target}:7 < ${folder}/datagram > ${folder}/echo`)
      expect(readFileSync(join(folder, 'echo')).length).toBe(9000)
      const udp = await shell(`echo one | socat -t 20 - UDP:${target}:13`)
      expect(udp.output).toMatch(/Connection refused/)
    },
  )

  test.each(families)('a client stack reaches the kernel ($name)', async ({ name, own, kernel }) => {
    await start('client')
    const v4 = name === 'IPv4'
    expect((await ping('-c', '2', '-i', '0.1', own)).output).toMatch(/2 received/)
    const listen = v4 ? 'TCP4-LISTEN' : 'TCP6-LISTEN'
    const server = new LabProcess('socat', ['-d', '-d', `${listen}:7777,fork,reuseaddr`, 'EXEC:cat'], { namespace })
    try {
      await server.waitFor(/listening on/)
      for (const bytes of [0, 1, 3_000_000]) {
        const answer = await order({ connect: kernel, port: 7777, bytes }, /\{"received".*\}/)
        expect(JSON.parse(answer)).toEqual({ received: bytes, same: true })
      }
    } finally {
      await server.stop('SIGKILL')
    }
    expect(await order({ connect: kernel, port: 7778, bytes: 1 }, /\{"reset".*\}/)).toBe('{"reset":"refused"}')
    expect(await order({ ping: kernel, bytes: 4000 }, /"echo-replied".*/)).toContain(`"destination":"${kernel}"`)
    expect(await order({ datagram: kernel, port: 7779, bytes: 100 }, /"icmp-error".*/)).toContain('port-unreachable')
    // Nobody listens here, and the kernel hears so at once.
    expect((await shell(`socat - TCP:${v4 ? own : `[${own}]`}:80 < /dev/null`)).output).toMatch(/Connection refused/)
  })
})
