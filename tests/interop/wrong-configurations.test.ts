// Each wrong configuration gives one clear message that names file, line, key and value, and exit code 78.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { stringify } from 'yaml'
import { type LabCertificates, makeCertificates } from '../lab/certificates.ts'
import { needs } from '../lab/needs.ts'
import { addUser, runTwinbore, usualConfig } from '../lab/twinbore.ts'
import { Workspace } from '../lab/workspace.ts'

type Config = Record<string, unknown>

/** What is wrong, how the usual configuration is made so, and what the message must name: line, key and value. */
const mistakes: [string, (config: Config) => Config, RegExp][] = [
  ['a key that does not exist', config => ({ ...config, poool: {} }), /poool.*\bpool\b/],
  [
    'a port out of range',
    config => ({ ...config, listen: { address: '0.0.0.0', port: 70000 } }),
    /listen\.port.*70000/,
  ],
  [
    'a listen address that is none',
    config => ({ ...config, listen: { address: '10.0.0.300' } }),
    /listen\.address.*10\.0\.0\.300/,
  ],
  [
    'a prefix with an impossible length',
    config => ({ ...config, pool: { ipv4: '192.168.77.0/33' } }),
    /pool\.ipv4.*192\.168\.77\.0\/33/,
  ],
  [
    'a prefix with host bits',
    config => ({ ...config, routes: { include: ['10.2.0.7/24'] } }),
    /routes\.include\[0\].*10\.2\.0\.7\/24.*10\.2\.0\.0\/24/,
  ],
  ['an unknown egress', config => ({ ...config, egress: { mode: 'teleport' } }), /egress\.mode.*teleport.*translate/],
  [
    'a certificate that is not there',
    config => ({ ...config, tls: { certificate: 'gone.crt', key: 'gone.key' } }),
    /tls\.certificate.*gone\.crt/,
  ],
  ['nobody who may log in', config => ({ ...config, auth: {} }), /auth.*users.*clientCa/],
  [
    'a time that is not a number',
    config => ({ ...config, session: { maxSeconds: 'an hour' } }),
    /session\.maxSeconds.*an hour/,
  ],
  [
    'a name server that is none',
    config => ({ ...config, dns: { servers: ['dns.corp.example'] } }),
    /dns\.servers\[0\].*dns\.corp\.example/,
  ],
  [
    'a 501st route',
    config => ({
      ...config,
      routes: {
        include: Array.from({ length: 499 }, (_, n) => `10.${n >> 8}.${n & 255}.0/24`),
        exclude: ['10.200.0.0/24', '10.201.0.0/24'],
      },
    }),
    /routes.*501.*500/,
  ],
]

needs('openssl')('twinbore', () => {
  let workspace: Workspace
  let certificates: LabCertificates

  beforeAll(async () => {
    workspace = new Workspace()
    certificates = await makeCertificates(workspace)
    await addUser(workspace, 'alice', 'secret')
  })
  afterAll(() => workspace?.remove())

  describe.each(['gateway', 'check-config'])('%s', command => {
    test.each(mistakes)('refuses %s', async (_, spoil, expected) => {
      const file = workspace.write('wrong.yaml', stringify(spoil(usualConfig(certificates))))
      const { code, output } = await runTwinbore([command, '--config', file])
      expect(code).toBe(78)
      const lines = output.split('\n').filter(line => /wrong\.yaml:\d+: /.test(line))
      expect(lines, output).toEqual([expect.stringMatching(expected)])
      expect(output).not.toMatch(/^\s+at /m)
    })

    test('refuses what is not YAML', async () => {
      const file = workspace.write('wrong.yaml', 'listen: { address: 0.0.0.0, port: 443\npool: [')
      const { code, output } = await runTwinbore([command, '--config', file])
      expect(code).toBe(78)
      expect(output).toMatch(/wrong\.yaml:\d+: /)
      expect(output).not.toMatch(/^\s+at /m)
    })

    test('refuses a file that is not there', async () => {
      const { code, output } = await runTwinbore([command, '--config', workspace.path('gone.yaml')])
      expect(code).toBe(78)
      expect(output).toContain('gone.yaml')
    })
  })

  test('reports all mistakes of a file at once, each on its line', async () => {
    const text =
      'listen: { port: 0.5 }\npool: { ipv4: nonsense }\nauth: { users: users.yaml }\ntls: { certificate: a.crt }\n'
    const file = workspace.write('wrong.yaml', text)
    const { code, output } = await runTwinbore(['check-config', '--config', file])
    expect(code).toBe(78)
    for (const line of [/wrong\.yaml:1: listen\.port/, /wrong\.yaml:2: pool\.ipv4/, /wrong\.yaml:4: tls/])
      expect(output).toMatch(line)
  })

  test('check-config accepts the usual configuration', async () => {
    const file = workspace.write('right.yaml', stringify(usualConfig(certificates)))
    expect((await runTwinbore(['check-config', '--config', file])).code).toBe(0)
  })

  test('a wrong command line is a usage error, exit code 2', async () => {
    for (const args of [['gatewy'], ['gateway', '--nonsense'], ['gateway'], ['connect']]) {
      const { code, output } = await runTwinbore(args)
      expect(code, args.join(' ')).toBe(2)
      expect(output).not.toMatch(/^\s+at /m)
    }
  })
})
