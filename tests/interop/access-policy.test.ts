// An access policy and a stock client: who gets in, and what becomes of flows when a session may reach less than before.
import { writeFile } from 'node:fs/promises'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { Lab } from '../lab/lab.ts'
import { corporateAddress } from '../lab/lab-network.ts'
import type { LabProcess } from '../lab/lab-process.ts'
import { needs } from '../lab/needs.ts'
import { connectOpenconnect, endOpenconnect, startOpenconnect } from '../lab/openconnect.ts'
import { reach } from '../lab/traffic.ts'
import { startGateway } from '../lab/twinbore.ts'

const everybody = 'rules: [{ name: everybody, effect: allow }]'
const remediation = 7001
const intranet = 7002
const restricted = `rules: [{ name: sick, effect: restrict, permissions: [{ to: ${corporateAddress}, protocol: tcp, ports: ${remediation} }] }]`
const nobody = 'rules: [{ name: nobody, effect: refuse, text: Ask the help desk. }]'

needs(
  'root',
  'tun',
  'ip',
  'nft',
  'openssl',
  'openconnect',
  'ping',
  'socat',
)('an access policy', () => {
  let lab: Lab
  let gateway: LabProcess | undefined
  let client: LabProcess | undefined

  beforeAll(async () => {
    lab = await Lab.open()
    const listen = [remediation, intranet].map(port => `.listen(${port})`)
    const echo = listen.map(
      call => `require('node:net').createServer(socket => socket.on('error', () => {}).pipe(socket))${call}`,
    )
    const servers = lab.network.start('corporate', process.execPath, ['-e', `${echo.join(';')}; console.log('ready')`])
    await servers.waitFor(/ready/)
  })
  afterEach(async () => {
    if (client && !client.hasEnded) await endOpenconnect(client)
    await gateway?.stop()
  })
  afterAll(() => lab?.close())

  async function start(mode: string, policy: string): Promise<LabProcess> {
    await writeFile(lab.workspace.path('policy.yaml'), policy)
    gateway = await startGateway(
      lab.network,
      await lab.configure({ config: { access: 'policy.yaml', egress: { mode } } }),
    )
    return gateway
  }

  async function change(policy: string): Promise<void> {
    const since = gateway!.mark
    await writeFile(lab.workspace.path('policy.yaml'), policy)
    gateway!.kill('SIGHUP')
    await gateway!.waitFor(/reloaded/, { since })
  }

  /** A conversation that goes on: each line is answered with itself. */
  function converse(port: number): LabProcess {
    const target = `TCP:${corporateAddress}:${port},connect-timeout=5`
    return lab.network.start('client', 'socat', ['-', target], { keepInputOpen: true })
  }

  async function say(conversation: LabProcess, word: string, timeoutMs = 10_000): Promise<void> {
    const since = conversation.mark
    conversation.write(`${word}\n`)
    await conversation.waitFor(new RegExp(`^${word}$`, 'm'), { since, timeoutMs })
  }

  test.each(['translate', 'kernel', 'sockets'])(
    'with %s, a restriction cuts a conversation that is under way and leaves one place within reach',
    { timeout: 120_000 },
    async mode => {
      await start(mode, everybody)
      client = await connectOpenconnect(lab.network, lab.alice)
      const conversation = converse(intranet)
      await say(conversation, 'before')

      await change(restricted)
      conversation.write('after\n')
      // What is permitted goes on at once, and what is not has had as long as that takes, and a second more.
      const permitted = converse(remediation)
      await say(permitted, 'permitted')
      await expect(say(conversation, 'late', 1000)).rejects.toThrow()
      expect(conversation.output).not.toMatch(/after|late/)
      const refused = converse(intranet)
      await expect(say(refused, 'refused', 2000)).rejects.toThrow()
      const { code } = await lab.network.run('client', 'ping', ['-c', '1', '-W', '1', corporateAddress])
      expect(code).not.toBe(0)
      await say(permitted, 'still')
      expect(client.output).not.toMatch(/reconnect/i)

      await change(everybody)
      await say(converse(intranet), 'again')
    },
  )

  test('whom it refuses reads why; who is in already is out at once', { timeout: 60_000 }, async () => {
    await start('translate', nobody)
    const refused = await startOpenconnect(lab.network, lab.alice).finished
    expect(refused.code).not.toBe(0)
    expect(refused.output).toContain('Ask the help desk.')
    expect(gateway!.output).toMatch(/"rule":"nobody".*access refused/)

    await change(everybody)
    client = await connectOpenconnect(lab.network, lab.alice)
    await reach(lab.network, corporateAddress)
    await change(nobody)
    const ended = await client.finished
    expect(ended.code).not.toBe(0)
    expect(gateway!.output).toMatch(/session disconnected/)
  })
})
