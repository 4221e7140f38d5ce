import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { runMain } from './run-main.ts'

const policy = `
rules:
  - { name: old clients, when: { userAgent: 'AnyConnect*' }, effect: refuse, text: Please install version 9. }
  - name: sick
    when: { device: { compliant: false } }
    effect: restrict
    permissions: [{ to: 10.2.0.5, protocol: tcp, ports: 443 }]
  - { name: staff, when: { group: staff }, effect: allow }
grants:
  - { name: everybody, maxSeconds: 600, rate: { upload: none } }
`
const cases = `
policy: policy.yaml
cases:
  - name: staff get in
    given: { groups: [staff], device: { compliant: true } }
    expect: { effect: allow, rule: staff, grants: [everybody], reaches: ['tcp 10.9.9.9:1'] }
  - name: the sick reach the place where they are mended, and nothing else
    given: { groups: [staff] }
    expect: { effect: restrict, reaches: ['tcp 10.2.0.5:443'], refuses: ['tcp 10.2.0.5:80', 'tcp 10.2.0.6:443', 'icmp 10.2.0.5'] }
`

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'twinbore-policy-'))
  const files = { 'policy.yaml': policy, 'policy.test.yaml': cases, 'facts.yaml': 'device: { compliant: true }' }
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text)
  await writeFile(join(folder, 'claims.json'), JSON.stringify({ preferred_username: 'anna', groups: ['staff'] }))
})
afterAll(() => rm(folder, { recursive: true }))

const at = (name: string) => join(folder, name)
const explain = (...words: string[]) => runMain(['policy', 'explain', '--policy', at('policy.yaml'), ...words])

test('explains which rule decided, and why not those before it', async () => {
  const { code, stdout, stderr } = await explain('--claims', at('claims.json'), '--facts', at('facts.yaml'))
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  expect(stdout).toBe(
    [
      "allow anna, by rule 'staff'",
      '  not    old clients: user agent is not known',
      '  not    sick: the device is compliant',
      '  holds  staff: in group staff',
      '  grants: everybody',
      '  maxSeconds: 600',
      '  rate: {"upload":"none"}',
      '',
    ].join('\n'),
  )
})

test('explains a restriction, and speaks JSON', async () => {
  const { stdout } = await explain('--claims', at('claims.json'))
  expect(stdout).toMatch(/^restrict anna, by rule 'sick'\n[\s\S]* {2}reaches: 10\.2\.0\.5\/32 tcp 443\n/)
  const { stdout: json } = await explain('--claims', at('claims.json'), '--json')
  expect(JSON.parse(json)).toMatchObject({ effect: 'restrict', rule: 'sick', grants: ['everybody'] })
})

test('a policy that decides as its cases say passes', async () => {
  const { code, stdout } = await runMain(['policy', 'test', at('policy.test.yaml')])
  expect(stdout).toMatch(/^ok {4}staff get in\nok .*\n2 passed, 0 failed\n$/)
  expect(code).toBe(0)
})

test('a policy that differs fails, says in what, and shows its way', async () => {
  await writeFile(
    at('wrong.test.yaml'),
    cases.replace('rule: staff,', 'rule: sick,').replace("'icmp 10.2.0.5'", "'tcp 10.2.0.5:443'"),
  )
  const { code, stdout, stderr } = await runMain(['policy', 'test', at('wrong.test.yaml')])
  expect(code).toBe(1)
  expect(stdout).toContain('FAIL  staff get in\n        rule is staff, not sick\n        not    old clients')
  expect(stdout).toContain('reaches tcp 10.2.0.5:443')
  expect(stdout).toContain('0 passed, 2 failed')
  expect(stderr).toContain('the policy differs in 2 of 2 cases')
})

test.each([
  ['rules: [{ name: a, effect: alow }]', "policy-wrong.yaml:1: rules[0].effect: 'alow' is not known"],
  ['rules: {', 'not valid YAML'],
])('mistakes of a policy are told with their place, exit code 78', async (text, message) => {
  await writeFile(at('policy-wrong.yaml'), text)
  const { code, stderr } = await runMain(['policy', 'explain', '--policy', at('policy-wrong.yaml')])
  expect(code).toBe(78)
  expect(stderr).toContain(message)
})

test('a file that is not there is told, exit code 78', async () => {
  expect(await runMain(['policy', 'test', at('nothing.yaml')])).toMatchObject({ code: 78, stdout: '' })
})
