// The commands of LaTeX's mathematics that stand for one sign, by what kind of sign it is. Tables only.

const pairs = (text) => {
  const parts = text.trim().split(/\s+/);
  return new Map(parts.flatMap((part, index) => (index % 2 ? [] : [[part, parts[index + 1]]])));
};

/** Small Greek letters and others that stand for a quantity: they are set in italics. */
export const LETTERS = pairs(`
  alpha α beta β gamma γ delta δ epsilon ϵ varepsilon ε zeta ζ eta η theta θ vartheta ϑ iota ι kappa κ
  varkappa ϰ lambda λ mu μ nu ν xi ξ omicron ο pi π varpi ϖ rho ρ varrho ϱ sigma σ varsigma ς tau τ
  upsilon υ phi ϕ varphi φ chi χ psi ψ omega ω imath ı jmath ȷ`);

/** Signs that stand for a thing and are set upright. */
export const UPRIGHT = pairs(`
  Gamma Γ Delta Δ Theta Θ Lambda Λ Xi Ξ Pi Π Sigma Σ Upsilon Υ Phi Φ Psi Ψ Omega Ω infty ∞ partial ∂ nabla ∇
  hbar ℏ hslash ℏ ell ℓ Re ℜ Im ℑ wp ℘ aleph ℵ beth ℶ emptyset ∅ varnothing ∅ angle ∠ measuredangle ∡
  triangle △ square □ Box □ blacksquare ■ diamond ⋄ Diamond ◇ lozenge ◊ bigstar ★ forall ∀ exists ∃ nexists ∄
  neg ¬ lnot ¬ top ⊤ bot ⊥ prime ′ degree ° clubsuit ♣ diamondsuit ♢ heartsuit ♡ spadesuit ♠ sharp ♯ flat ♭
  natural ♮ checkmark ✓ complement ∁ mho ℧ S § P ¶ pounds £ copyright © ldots … dots … dotsc … cdots ⋯ dotsb ⋯
  dotsm ⋯ dotsi ⋯ vdots ⋮ ddots ⋱ iddots ⋰ % % $ $ # # & & _ _`);

/** Signs between two things: what counts, compares, leads from one to the other. */
export const OPERATORS = pairs(`
  times × div ÷ cdot ⋅ ast ∗ star ⋆ circ ∘ bullet ∙ pm ± mp ∓ oplus ⊕ ominus ⊖ otimes ⊗ oslash ⊘ odot ⊙ dagger †
  ddagger ‡ amalg ⨿ cap ∩ cup ∪ sqcap ⊓ sqcup ⊔ uplus ⊎ vee ∨ lor ∨ wedge ∧ land ∧ setminus ∖ smallsetminus ∖
  wr ≀ bigcirc ◯ triangleleft ◁ triangleright ▷ rtimes ⋊ ltimes ⋉ boxtimes ⊠ boxplus ⊞
  le ≤ leq ≤ leqslant ⩽ ge ≥ geq ≥ geqslant ⩾ ne ≠ neq ≠ lt < gt > ll ≪ gg ≫ lll ⋘ ggg ⋙ approx ≈ equiv ≡ sim ∼
  simeq ≃ cong ≅ asymp ≍ doteq ≐ propto ∝ prec ≺ succ ≻ preceq ⪯ succeq ⪰ lesssim ≲ gtrsim ≳ approxeq ≊
  triangleq ≜ coloneqq ≔ in ∈ notin ∉ ni ∋ subset ⊂ supset ⊃ subseteq ⊆ supseteq ⊇ subsetneq ⊊ supsetneq ⊋
  sqsubseteq ⊑ sqsupseteq ⊒ nsubseteq ⊈ nsupseteq ⊉ perp ⟂ parallel ∥ nparallel ∦ mid ∣ nmid ∤ vdash ⊢ dashv ⊣
  models ⊨ vDash ⊨ Vdash ⊩ smile ⌣ frown ⌢ bowtie ⋈ nless ≮ ngtr ≯ nleq ≰ ngeq ≱ therefore ∴ because ∵ colon :
  to → rightarrow → leftarrow ← gets ← Rightarrow ⇒ Leftarrow ⇐ leftrightarrow ↔ Leftrightarrow ⇔ iff ⟺
  implies ⟹ impliedby ⟸ longrightarrow ⟶ longleftarrow ⟵ Longrightarrow ⟹ Longleftarrow ⟸ longleftrightarrow ⟷
  Longleftrightarrow ⟺ mapsto ↦ longmapsto ⟼ uparrow ↑ downarrow ↓ updownarrow ↕ Uparrow ⇑ Downarrow ⇓
  hookrightarrow ↪ hookleftarrow ↩ rightharpoonup ⇀ rightharpoondown ⇁ leftharpoonup ↼ leftharpoondown ↽
  rightleftharpoons ⇌ nearrow ↗ searrow ↘ swarrow ↙ nwarrow ↖ rightsquigarrow ⇝ leadsto ⇝ twoheadrightarrow ↠
  nrightarrow ↛ nRightarrow ⇏ rightleftarrows ⇄ circlearrowleft ↺ circlearrowright ↻`);

/** Large signs with limits above and below. */
export const SUMS = pairs(`
  sum ∑ prod ∏ coprod ∐ bigcup ⋃ bigcap ⋂ bigsqcup ⨆ bigvee ⋁ bigwedge ⋀ bigoplus ⨁ bigotimes ⨂ bigodot ⨀
  biguplus ⨄`);

/** Large signs with limits beside. */
export const INTEGRALS = pairs("int ∫ iint ∬ iiint ∭ oint ∮ oiint ∯ oiiint ∰");

const names = (text) => new Set(text.trim().split(/\s+/));

/** Functions that are written out. */
export const FUNCTIONS = names(`
  sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh coth log ln lg exp arg deg dim hom ker`);

/** The same, with what they range over below; how they are written. */
export const LIMIT_FUNCTIONS = new Map([
  ...["lim", "max", "min", "sup", "inf", "det", "gcd", "Pr"].map((name) => [name, name]),
  ["limsup", "lim\u2009sup"], ["liminf", "lim\u2009inf"], ["argmax", "arg\u2009max"], ["argmin", "arg\u2009min"],
]);

/** What may stand behind \left, \right, \middle and \big; "" is the point, which shows nothing. */
export const DELIMITERS = new Map([
  ...["(", ")", "[", "]", "|", "/"].map((sign) => [sign, sign]),
  ["<", "⟨"], [">", "⟩"], [".", ""],
  ...pairs(`
    \\{ { \\} } \\lbrace { \\rbrace } \\lbrack [ \\rbrack ] \\| ‖ \\vert | \\Vert ‖ \\lvert | \\rvert | \\lVert ‖
    \\rVert ‖ \\langle ⟨ \\rangle ⟩ \\lfloor ⌊ \\rfloor ⌋ \\lceil ⌈ \\rceil ⌉ \\backslash \\ \\uparrow ↑
    \\downarrow ↓ \\updownarrow ↕ \\Uparrow ⇑ \\Downarrow ⇓ \\lgroup ⟮ \\rgroup ⟯`),
]);

/** Delimiters that open and that close, where they stand by themselves. */
export const OPENING = names("( [ { ⟨ ⌊ ⌈ ⟮");
export const CLOSING = names(") ] } ⟩ ⌋ ⌉ ⟯");

/** Marks above or below something: the sign, whether it stretches and is below; or a line of the style sheet. */
export const MARKS = new Map([
  ["hat", { sign: "^" }], ["widehat", { sign: "^", stretches: true }], ["check", { sign: "ˇ" }],
  ["tilde", { sign: "~" }], ["widetilde", { sign: "~", stretches: true }], ["bar", { sign: "¯" }],
  // Few fonts have a line that grows; any browser draws one.
  ["overline", { line: "formula-overlined" }], ["underline", { line: "formula-underlined" }],
  ["vec", { sign: "→" }], ["overrightarrow", { sign: "→", stretches: true }],
  ["overleftarrow", { sign: "←", stretches: true }], ["overleftrightarrow", { sign: "↔", stretches: true }],
  ["dot", { sign: "˙" }], ["ddot", { sign: "¨" }], ["dddot", { sign: "⃛" }], ["acute", { sign: "´" }],
  ["grave", { sign: "`" }], ["breve", { sign: "˘" }], ["mathring", { sign: "˚" }],
  ["overbrace", { sign: "⏞", stretches: true, takesLimits: true }],
  ["underbrace", { sign: "⏟", stretches: true, isBelow: true, takesLimits: true }],
]);

/** Arrows that grow with what stands above and below them. */
export const ARROWS = pairs(`
  xrightarrow → xleftarrow ← xRightarrow ⇒ xLeftarrow ⇐ xleftrightarrow ↔ xmapsto ↦ xhookrightarrow ↪`);

/** Spaces, in em. */
export const SPACES = new Map([
  [",", 0.1667], ["thinspace", 0.1667], [":", 0.2222], [">", 0.2222], ["medspace", 0.2222], [";", 0.2778],
  ["thickspace", 0.2778], [" ", 0.3333], ["~", 0.3333], ["enspace", 0.5], ["quad", 1], ["qquad", 2], ["!", 0],
  ["negthinspace", 0],
]);

/** Surroundings that hold rows and columns: what they are fenced with, and how the columns stand. */
export const TABLES = new Map([
  ["matrix", {}], ["smallmatrix", { isSmall: true }], ["pmatrix", { fences: ["(", ")"] }],
  ["bmatrix", { fences: ["[", "]"] }], ["Bmatrix", { fences: ["{", "}"] }], ["vmatrix", { fences: ["|", "|"] }],
  ["Vmatrix", { fences: ["‖", "‖"] }],
  ["cases", { fences: ["{", ""], columns: "ll" }], ["dcases", { fences: ["{", ""], columns: "ll", isLarge: true }],
  ["rcases", { fences: ["", "}"], columns: "ll" }],
  ["array", { takesColumns: true }], ["subarray", { takesColumns: true, isSmall: true }],
  ...["aligned", "align", "align*", "split", "eqnarray", "eqnarray*", "alignedat"].map((name) => {
    return [name, { columns: "rl", isLarge: true, isAligned: true, takesCount: name === "alignedat" }];
  }),
  ...["gathered", "gather", "gather*", "equation", "equation*", "multline", "multline*"].map((name) => {
    return [name, { isLarge: true }];
  }),
]);
