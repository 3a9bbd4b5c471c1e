/** What the pictures of the README show: each a moment of the real pi, with the simulated Kimi service. */
import { chmodSync } from "node:fs";
import { createHome, type Home } from "../home.ts";
import { newerHost, type PiHost } from "../hosts.ts";
import { type KimiService, startKimiService } from "../kimi-service/index.ts";
import { ourModel } from "../pi.ts";
import { startTmux, type TmuxPi } from "../tmux.ts";
import { enter, enterLogin } from "../typing.ts";
import { parseScreen, plainText, type Row } from "./ansi.ts";

export interface Scene {
  /** Of its files, `images/<name>.svg` and, for the gallery, `.png`. */
  readonly name: string;
  readonly title: string;
  readonly width: number;
  readonly height: number;
  /** Whether pi starts with a login of kimi-cli. */
  readonly loggedIn: boolean;
  /** Before pi starts. */
  readonly prepare?: (home: Home) => void;
  readonly play: (pi: TmuxPi, service: KimiService, host: PiHost) => Promise<unknown>;
  /** The first line that the picture shows; what pi says at its start is left out. */
  readonly from: RegExp;
  /** Of what must be legible in it. */
  readonly shows: readonly (string | RegExp)[];
}

/** The example of RFC 8628 §3.2. */
const USER_CODE = "WDJB-MJHT";
const ADDRESS = `https://www.kimi.com/code/authorize_device?user_code=${USER_CODE}`;

const QUESTION = "Two of my terminals refresh the same token at once. What goes wrong?";
const THOUGHT =
  "Refresh tokens rotate: each is good for one use. If both terminals read the same one, the second presents a reused " +
  "refresh token, and the server may end the whole login. So they need one lock, and a second look after it.";
const ANSWER = [
  "Whoever comes second presents a token that is already used up. Servers take that for theft and may end the login " +
    "for both.",
  "",
  "1. Take the lock that the owner of the file takes.",
  "2. **Read the file again** under it: somebody may have refreshed meanwhile.",
  "3. Only then ask for a new token, and write it before letting go.",
  "",
  "A client that lost the answer looks at the file first and never tries the same one twice.",
].join("\n");

export const scenes: readonly Scene[] = [
  {
    name: "login",
    title: "pi shows the address, the code in large letters, a countdown and a QR code",
    width: 104,
    height: 36,
    loggedIn: false,
    async play(pi, service, host) {
      service.deviceResponse({ user_code: USER_CODE, verification_uri_complete: ADDRESS });
      await enterLogin(pi, host);
      await pi.waitFor(/another 29:5\d/);
    },
    // What we show is a dialog on pi 0.73.1, and stands above pi's own on its successor.
    from: /^─+$|Open the address/,
    shows: [/Log ?in to Kimi Coder/, ADDRESS, USER_CODE, /good for another 29:5\d/, "share the login"],
  },
  {
    name: "thinking",
    title: "pi thinks and answers with kimi-for-coding, the thinking level set to high",
    width: 104,
    height: 40,
    loggedIn: true,
    async play(pi, service) {
      service.reply({ thinking: THOUGHT, text: ANSWER });
      await enter(pi, "/thinking high");
      await pi.waitFor(/Thinking (?:is|level:) high/);
      await enter(pi, QUESTION);
      await pi.waitFor("never tries the same one twice");
      await pi.waitFor((screen) => !screen.includes("Working"));
    },
    from: /Thinking (?:is|level:) high/,
    shows: [/Thinking (?:is|level:) high/, QUESTION, "reused refresh token", "kimi-for-coding • high"],
  },
  {
    name: "usage",
    title: "/kimi usage: a bar for each window of the plan, what is left and when it renews",
    width: 104,
    height: 40,
    loggedIn: true,
    async play(pi) {
      await enter(pi, "/kimi usage");
      await pi.waitFor("Allegretto");
      await pi.waitFor((screen) => !screen.includes("Asking Kimi"));
    },
    from: /^─+$/,
    shows: ["Allegretto", /62 ?%/, /41 ?%/],
  },
  {
    name: "doctor",
    title: "/kimi doctor: what is wrong and what to do about it, then what is fine",
    width: 110,
    height: 24,
    loggedIn: true,
    prepare: (home) => chmodSync(home.kimiCliPath, 0o644),
    async play(pi) {
      await pi.waitFor("using kimi-cli credentials");
      await enter(pi, "/kimi doctor");
      await pi.waitFor(/^ ?[✓✗]/m);
    },
    from: /thing is wrong/,
    shows: [/✓ pi: /, /✗ .*kimi-code\.json/, "chmod"],
  },
];

/** Plays the scene in a home of its own. Throws where the picture would not show what it is for. */
export async function capture(scene: Scene, host: PiHost = newerHost): Promise<readonly Row[]> {
  const service = await startKimiService();
  const home = createHome();
  try {
    service.setUsages(figures(service.now()));
    service.setMe({ nickname: "you", user_level_name: "Allegretto", region: "REGION_CN" });
    if (scene.loggedIn) home.writeKimiCli(service.issueLogin());
    scene.prepare?.(home);
    home.write(".pi/agent/settings.json", JSON.stringify({ quietStartup: true }));
    const { width, height } = scene;
    const pi = await startTmux(host, home, ourModel, {
      env: { ...service.environment, COLORTERM: "truecolor", TZ: "UTC" },
      width,
      height,
    });
    try {
      await scene.play(pi, service, host);
      const rows = crop(parseScreen(neutral(await pi.styled(), home, service)), scene.from);
      check(scene, plainText(rows));
      return rows;
    } finally {
      await pi.close();
    }
  } finally {
    home.remove();
    await service.close();
  }
}

/** Of `GET /usages`, in the newer shape; `now` in ms. */
function figures(now: number): object {
  const window = (used_ratio: number, hours: number) => {
    const reset_time = new Date(now + hours * 3_600_000).toISOString();
    return { used_ratio, reset_time };
  };
  return {
    usages: {
      limit_5h: window(0.62, 1.67),
      limit_7d: window(0.41, 93),
      limit_month_total: window(0.18, 510),
      limit_month_code: window(0.23, 510),
    },
    boosterWallet: {
      balance: { type: "BOOSTER", amount: "2000000000", amountLeft: "1500000000" },
      monthlyChargeLimitEnabled: true,
      monthlyChargeLimit: { currency: "USD", priceInCents: 2000 },
      monthlyUsed: { currency: "USD", priceInCents: 500 },
    },
  };
}

/** Says what a user would see: their home is `~`, and the hosts are Kimi's. */
function neutral(captured: string, home: Home, { url, baseUrl }: KimiService): string {
  return captured
    .replaceAll(home.path, "~")
    .replaceAll(baseUrl, "https://api.kimi.com/coding/v1")
    .replaceAll(url, "https://auth.kimi.com");
}

function crop(rows: readonly Row[], from: RegExp): readonly Row[] {
  const lines = rows.map((row) => plainText([row]));
  const first = lines.findIndex((line) => from.test(line));
  const last = lines.findLastIndex((line) => line !== "");
  return first < 0 ? [] : rows.slice(first, last + 1);
}

function check({ name, shows }: Scene, text: string): void {
  for (const wanted of shows) {
    const found = typeof wanted === "string" ? text.includes(wanted) : wanted.test(text);
    if (!found) throw new Error(`the picture ${name} does not show ${String(wanted)}:\n${text}`);
  }
}

/** The scene whose PNG pi's package gallery shows (`pi.image`). */
export const galleryScene = "thinking";
