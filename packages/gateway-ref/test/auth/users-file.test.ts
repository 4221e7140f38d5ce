import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { hashPassword } from '../../src/auth/io/password-hasher.ts'
import { addUser, readUsersFile, removeUser, setPassword } from '../../src/auth/io/users-file.ts'
import { formatPasswordRecord, type PasswordRecord } from '../../src/auth/password-record.ts'
import { formatProblem } from '../../src/config/config-problem.ts'
import { isReadableByOthers } from '../../src/io/file-permissions.ts'

let folder: string
let file: string
let record: PasswordRecord
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'twinbore-users-'))
  file = join(folder, 'users.yaml')
  record = await hashPassword('secret', { N: 1024, r: 8, p: 1 })
})
beforeEach(() => rm(file, { force: true }))
afterAll(() => rm(folder, { recursive: true }))

describe('writing', () => {
  test('makes the file for its owner only, and adds, changes and removes users', async () => {
    await addUser(file, { name: 'anna', password: record })
    const { otpSecret } = await addUser(file, {
      name: 'ben@corp.example',
      password: record,
      groups: ['staff'],
      otp: true,
    })
    expect((await stat(file)).mode & 0o777).toBe(0o600)
    expect(otpSecret).toMatch(/^[A-Z2-7]{32}$/)

    const { users, problems } = await readUsersFile(file)
    expect(problems).toEqual([])
    expect([...users.keys()]).toEqual(['anna', 'ben@corp.example'])
    expect(users.get('anna')).toMatchObject({ otpSecret: undefined, groups: [], disabled: false })
    expect(users.get('ben@corp.example')).toMatchObject({ groups: ['staff'] })
    expect(users.get('ben@corp.example')!.otpSecret).toHaveLength(20)

    const other = await hashPassword('other', { N: 1024, r: 8, p: 1 })
    await setPassword(file, 'anna', other)
    expect(await readFile(file, 'utf8')).toContain(formatPasswordRecord(other))
    await removeUser(file, 'anna')
    await removeUser(file, 'ben@corp.example')
    expect((await readUsersFile(file)).users.size).toBe(0)
  })

  test('keeps comments, order and whatever else people wrote', async () => {
    const text = `# People of the corporate network.
anna:
  # since March
  password: ${formatPasswordRecord(record)} # changed in June
  groups: [ staff, admins ]

# Left in May.
ben: { disabled: true }
`
    await writeFile(file, text)
    await addUser(file, { name: 'carla', password: record })
    const added = await readFile(file, 'utf8')
    expect(added).toBe(`${text}carla:\n  password: ${formatPasswordRecord(record)}\n`)
    await removeUser(file, 'carla')
    expect(await readFile(file, 'utf8')).toBe(text)
  })

  test('refuses what would go wrong later, and changes nothing then', async () => {
    await addUser(file, { name: 'anna', password: record })
    const before = await readFile(file, 'utf8')
    await expect(addUser(file, { name: 'anna', password: record })).rejects.toThrow("has a user 'anna' already")
    await expect(addUser(file, { name: 'a b', password: record })).rejects.toThrow("'a b' is not a user name")
    await expect(addUser(file, { name: '../x', password: record })).rejects.toThrow('is not a user name')
    await expect(removeUser(file, 'ben')).rejects.toThrow("has no user 'ben'")
    await expect(setPassword(file, 'ben', record)).rejects.toThrow("has no user 'ben'")
    await expect(removeUser(join(folder, 'no.yaml'), 'ben')).rejects.toThrow('there is no such file')
    expect(await readFile(file, 'utf8')).toBe(before)
  })

  test('takes rates of a user, and tells what is none', async () => {
    await writeFile(
      file,
      'anna: { rate: { upload: 10 Mbit/s, download: none } }\nben: { rate: { up: 1 Mbit/s, upload: 1 MB } }\n',
    )
    const { users, problems } = await readUsersFile(file)
    expect(users.get('anna')!.rate).toEqual({ upload: 10e6, download: Number.POSITIVE_INFINITY })
    expect(problems.map(({ message }) => message)).toEqual([
      'unknown key; known here: upload, download',
      "'1 MB' is not a rate such as 50 Mbit/s, from 64 kbit/s, or 'none'",
    ])
  })

  test('takes names that look like numbers for names', async () => {
    await writeFile(file, '007: { disabled: true }\ntrue: {}\n')
    expect([...(await readUsersFile(file)).users.keys()]).toEqual(['007', 'true'])
    await addUser(file, { name: '12', password: record })
    await setPassword(file, '007', record)
    await removeUser(file, 'true')
    expect([...(await readUsersFile(file)).users.keys()]).toEqual(['12', '007'])
  })

  test('never rewrites a file that has a mistake', async () => {
    await writeFile(file, 'anna: { pasword: x }\n')
    await expect(addUser(file, { name: 'ben', password: record })).rejects.toThrow("did you mean 'password'?")
    expect(await readFile(file, 'utf8')).toBe('anna: { pasword: x }\n')
  })

  test('loses no user when several are added at once, and leaves no other file behind', async () => {
    await addUser(file, { name: 'first', password: record })
    const names = ['a', 'b', 'c']
    await Promise.all(names.map(name => addUser(file, { name, password: record })))
    const { users, problems } = await readUsersFile(file)
    expect(problems).toEqual([])
    expect([...users.keys()].sort()).toEqual(['a', 'b', 'c', 'first'])
    expect((await readdir(folder)).filter(name => name !== 'users.yaml')).toEqual([])
  })
})

describe('a lock', () => {
  const lock = () => `${file}.lock`

  test('that somebody left behind is told, with what to do', async () => {
    await writeFile(lock(), '')
    const attempt = addUser(file, { name: 'anna', password: record }, { lockWaitMs: 0 })
    await expect(attempt).rejects.toThrow(`is being changed by another program; if it is not, remove '${lock()}'`)
    expect(await readFile(lock(), 'utf8')).toBe('')
    await rm(lock())
  })

  test('is given back when the change fails', async () => {
    await addUser(file, { name: 'anna', password: record })
    await expect(removeUser(file, 'ben')).rejects.toThrow()
    await removeUser(file, 'anna', { lockWaitMs: 0 })
  })
})

describe('reading', () => {
  test.each([
    [
      'anna: { password: CANARY }',
      '1: anna.password: is not a scrypt record; set it with `twinbore user set-password anna`',
    ],
    ['a/b: {}', '1: (...): is not a user name; use 1 to 64 of A-Z a-z 0-9 . _ @ + -'],
    ['anna:\n  groups: staff', "2: anna.groups: 'staff' is not a list"],
    ['anna:\n  groups:\n    - ok\n    - "*"', "4: anna.groups[1]: '*' is not a group name"],
    ['anna: { addresses: [10.0.0.300] }', "1: anna.addresses[0]: '10.0.0.300' is not an IP address"],
    ['anna: { disabled: maybe }', "1: anna.disabled: 'maybe' is not true or false"],
    ['anna: { otp: { secret: CANARY } }', '1: anna.otp: holds no secret of 16 bytes or more in base32'],
    ['anna: { pasword scrypt$CANARY: 1 }', '1: anna.(...): unknown key; known here: password, otp'],
    ['anna: { password: x } "CANARY"', '1: not valid YAML: Unexpected'],
    ['anna: 5', '1: anna: is not a user; write e.g. { password: ... }'],
    ['- anna', '1: is not a list of users'],
    ['anna: {}\nanna: {}', '2: not valid YAML: Map keys must be unique'],
  ])('%j is told with its line, and without secrets', async (text, message) => {
    await writeFile(file, text)
    const { problems } = await readUsersFile(file)
    const told = problems.map(formatProblem).join('\n')
    expect(told).toContain(`${file}:${message}`)
    expect(told).not.toContain('CANARY')
  })

  test('a user without a password is one: for certificates', async () => {
    await writeFile(file, 'anna: { addresses: [10.0.0.3, "fd00::3"], otp: }\n')
    const { users, problems } = await readUsersFile(file)
    expect(problems).toEqual([])
    expect(users.get('anna')!.addresses.map(String)).toEqual(['10.0.0.3', 'fd00::3'])
  })
})

test('a file that others may read is noticed', async () => {
  await writeFile(file, '', { mode: 0o644 })
  expect(await isReadableByOthers(file)).toBe(true)
  await addUser(file, { name: 'anna', password: record })
  expect(await isReadableByOthers(file)).toBe(false)
})
