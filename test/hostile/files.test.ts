/** Whatever text stands in a file that we read: a login that is whole, a list, a memory, or the reason why not. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect } from "vitest";
import { findConfiguredKey, readConfiguration } from "../../extensions/configuration.ts";
import { hadEntry, lookAtEntry, type PiEntry } from "../../extensions/credentials/pi-entry.ts";
import type { CredentialStore, StoredLogin } from "../../extensions/credentials/store.ts";
import {
  createStores,
  kimiCliStore,
  kimiCodeStore,
  opencodeKimiAuthStore,
  opencodeKimiFullStore,
} from "../../extensions/credentials/stores.ts";
import { readDeviceId } from "../../extensions/identity.ts";
import { indented, memberValue, onOneLine, parseMembers } from "../../extensions/lib/json.ts";
import { askedForLogin } from "../../extensions/login/question.ts";
import { sayProblem } from "../../extensions/messages.ts";
import { readKeptList, readListAtStart } from "../../extensions/models/list.ts";
import { REGIONS, regionsInUse } from "../../extensions/region.ts";
import { put, SECOND } from "../credentials/support/homes.ts";
import { survives } from "./support/cases.ts";
import { asText, field, hostileText, hostileValue, SECRET, SHOWN } from "./support/values.ts";

const home = mkdtempSync(join(tmpdir(), "pi-kimi-hostile-"));
afterAll(() => rmSync(home, { recursive: true, force: true }));
const at = (...names: string[]) => join(home, ...names);

const token = fc.oneof(fc.stringMatching(/^[\x21-\x7e]{1,40}$/), fc.constant(SECRET));
const time = fc.oneof(
  fc.constantFrom(0, 1_800_000_000, 1_800_000_000.5, 1_800_000_000_000, 5e-324, 1e308, -1),
  fc.double({ noNaN: true }),
);

const names = ["access_token", "refresh_token", "expires_at", "expires_in", "scope", "token_type"] as const;
const login = fc.record({
  access_token: field(token),
  refresh_token: field(token),
  expires_at: field(time),
  expires_in: field(time),
  scope: field(token),
  token_type: field(token),
  note: hostileValue,
});
const entry = fc.record({
  type: field(fc.constantFrom("oauth", "oauth", "oauth", "api_key")),
  access: field(token),
  refresh: field(token),
  expires: field(time),
  owner: field(fc.constantFrom("kimi-cli", "kimi-code")),
  source: field(hostileText),
  region: field(fc.constantFrom("kimi.ai", "kimi.com")),
  key: field(token),
});

function expectLogin(found: StoredLogin | PiEntry, store: CredentialStore): boolean {
  if (found.state === "present" || found.state === "oauth") {
    const { accessToken, refreshToken, expiresAt, lifetime } = found.token;
    expect(accessToken).toMatch(/^[\x21-\x7e]{1,16384}$/);
    expect(refreshToken).toMatch(/^[\x21-\x7e]{1,16384}$/);
    expect(Number.isSafeInteger(expiresAt) && expiresAt >= 0 && expiresAt <= Date.UTC(2100, 0)).toBe(true);
    expect(lifetime > 0 && lifetime <= 366 * 86_400_000).toBe(true);
    return true;
  }
  if (found.state !== "api-key") {
    const said = sayProblem({ store, found });
    expect(said).toMatch(SHOWN);
    expect(said).not.toContain(SECRET);
  }
  return false;
}

describe("the login of", () => {
  const kimiCode = kimiCodeStore(at("kimi-code"), REGIONS["kimi.com"]);
  const kimiCli = kimiCliStore(at("kimi"));

  for (const store of [kimiCli, kimiCode]) {
    survives(`${store.owner} is whole or not there`, asText(login), async (text) => {
      put(store.path, text);
      return expectLogin(await store.read(), store);
    });
  }

  // Where a file may be half-written it is looked at again, which takes time: half files are in the group of members.
  const opencode = opencodeKimiAuthStore(at("opencode-kimi-auth"));
  survives("opencode-kimi-auth is whole or not there", login, async (value) => {
    put(opencode.path, JSON.stringify(value));
    return expectLogin(await opencode.read(), opencode);
  });
  const full = opencodeKimiFullStore(at("data"));
  const key = fc.constantFrom("kimi-for-coding-oauth", "kimi-for-coding-oauth/");
  survives(
    "opencode is whole or not there",
    fc.tuple(key, field(entry), hostileValue),
    async ([name, value, other]) => {
      put(full.path, JSON.stringify({ other, [name]: value }));
      return expectLogin(await full.read(), full);
    },
  );

  const agent = { auth: at("agent", "auth.json"), models: at("agent", "no-models.json") };
  const file = asText(
    fc.record({ "kimi-coder": field(entry), anthropic: hostileValue, KIMI_CODER_API_KEY: field(entry) }),
  );
  survives("pi is whole or not there, and so is the key beside it", file, (text) => {
    put(agent.auth, text);
    const { found } = lookAtEntry(agent.auth);
    if (found.state === "oauth") expect(["kimi.com", "kimi.ai"]).toContain(found.region);
    expect(readListAtStart(agent, regionsInUse({}, undefined), undefined)).toEqual([]);
    expect(findConfiguredKey({}, at("agent"))?.key ?? "none").toMatch(/^\S/);
    return expectLogin(found, kimiCli);
  });

  survives("an owner is replaced without a loss of what else stands in its file", login, (value) => {
    const { parse, update, render } = kimiCode.format;
    const before = parseMembers(JSON.stringify(value));
    if (!before || parse(before).state !== "present") return false;
    const after = parseMembers(render(update(before, SECOND)));
    if (!after) throw new Error("no object");
    expect([...after.keys()].sort()).toEqual([...new Set([...names, ...keysOf(value)])].sort());
    expect(after.get("note") && memberValue(after, "note")).toEqual(
      JSON.parse(JSON.stringify(value.note ?? null)),
    );
    expect(parse(after)).toMatchObject({ token: { refreshToken: SECOND.refreshToken } });
    return true;
  });
});

const keysOf = (value: object) => Object.keys(JSON.parse(JSON.stringify(value)));

describe("the members of an object", () => {
  survives(
    "are those that JSON.parse finds, or there is no object",
    asText(fc.oneof(login, entry, hostileValue)),
    (text) => {
      const members = parseMembers(text);
      let value: unknown;
      try {
        value = JSON.parse(text);
      } catch {
        value = undefined;
      }
      const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
      expect(members !== undefined).toBe(isObject);
      if (!members) return false;
      for (const written of [onOneLine(members), indented(members, 1)])
        expect(JSON.parse(written)).toEqual(value);
      return true;
    },
  );
});

describe("pi's other files", () => {
  survives(
    "settings.json holds a key that says something, or none",
    asText(fc.record({ apiKeys: field(fc.record({ KIMI_CODER_API_KEY: field(token) })) })),
    (text) => {
      put(at("settings", "settings.json"), text);
      expect(findConfiguredKey({}, at("settings"))?.key ?? "none").toMatch(/^\S/);
    },
  );

  const memory = fc.record({ seeded: field(fc.boolean()), seen: hostileValue });
  survives("kimi-coder.json says that there was an entry, or nothing", asText(memory), (text) => {
    put(at("agent", "kimi-coder.json"), text);
    const there = hadEntry(at("agent", "kimi-coder.json"));
    expect(typeof there).toBe("boolean");
    return there;
  });

  const url = "https://api.kimi.com/coding/v1";
  const kept = fc.record({
    baseUrl: field(fc.constant(url)),
    account: field(token),
    fetchedAt: field(time),
    data: field(
      fc.array(
        fc.record({ id: field(fc.constantFrom("k3", "kimi-for-coding")), display_name: field(hostileText) }),
        { maxLength: 4 },
      ),
    ),
  });
  survives("the kept list is one that can be shown, or none", asText(kept), (text) => {
    put(at("agent", "kimi-coder-models.json"), text);
    const list = readKeptList(at("agent", "kimi-coder-models.json"), url, undefined);
    if (!list) return false;
    expect(list.models.length).toBeGreaterThan(0);
    expect(Number.isFinite(list.fetchedAt)).toBe(true);
    for (const { id, name } of list.models) expect(`${id} ${name}`).toMatch(SHOWN);
    return true;
  });

  survives("device_id holds an id that fits into a header, or another is used", hostileText, async (text) => {
    put(at("share", "device_id"), text);
    const id = await readDeviceId(at("share"), false, "fresh");
    expect(new Headers({ "X-Msh-Device-Id": id }).get("x-msh-device-id")).toBe(id);
    expect(id).toMatch(/^[\x21-\x7e]{1,128}$/);
  });

  survives(
    "kimi-code's region is a region, or the usual one",
    fc.oneof(hostileText, fc.constantFrom("global", "mainland-cn\n")),
    async (text) => {
      put(at("kimi-code", "region"), text);
      const configuration = readConfiguration({}, at("nobody"));
      const stores = createStores(configuration);
      const markerPath = at("kimi-code", "region");
      const { options } = await askedForLogin({ configuration, stores, markerPath, now: () => 0 });
      expect(options.map(({ answer }) => answer.store.region).sort()).toEqual(["kimi.ai", "kimi.com"]);
    },
  );
});
