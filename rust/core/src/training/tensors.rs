//! What is trained: A and B of the chosen maps of the chosen layers, in PEFT's order and under its names, with their gradients
//! and moments.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::error::{Error, Result};
use crate::lora::Site;
use crate::model::spec::AttentionInput;
use crate::model::{Model, Module, Place};
use crate::sampling::Random;

use super::settings::TrainingSettings;

/// Numbers that stand beside each other for every tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The tensor itself.
    Value,
    /// What has been added up since the last step.
    Gradient,
    /// AdamW's mean of the gradients.
    FirstMoment,
    /// AdamW's mean of their squares.
    SecondMoment,
}

impl Kind {
    /// All of them, by name.
    pub const NAMES: [(&'static str, Self); 4] = [
        ("value", Self::Value),
        ("gradient", Self::Gradient),
        ("first_moment", Self::FirstMoment),
        ("second_moment", Self::SecondMoment),
    ];
}

/// A matrix that is trained.
#[derive(Debug)]
pub struct Tensor {
    name: String,
    rows: usize,
    columns: usize,
    order: Order,
    pub(super) value: Vec<f32>,
    pub(super) gradient: Vec<f32>,
    pub(super) first_moment: Vec<f32>,
    pub(super) second_moment: Vec<f32>,
}

/// How its numbers stand here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    /// As in files.
    ByRows,
    /// Turned over.
    ByColumns,
}

/// A map that is trained.
#[derive(Debug)]
pub(super) struct TrainedMap {
    pub(super) place: Place,
    /// `[rank, inputs]`
    pub(super) a: Tensor,
    /// `[outputs, rank]`; its numbers stand here as `[rank, outputs]`.
    pub(super) b: Tensor,
    /// B's numbers as `[outputs, rank]`.
    pub(super) b_by_rows: Vec<f32>,
}

/// All of them.
#[derive(Debug)]
pub(super) struct AdapterTensors {
    /// What the product of B and A is multiplied with.
    pub(super) scale: f32,
    /// Layer by layer, and in it site by site.
    maps: Vec<TrainedMap>,
    /// Which of them each site of each layer has.
    sites: Vec<[Range<usize>; 4]>,
}

impl Tensor {
    fn new(name: String, (rows, columns): (usize, usize), order: Order) -> Result<Self> {
        let zeros = || {
            let length = rows.checked_mul(columns);
            let mut values = Vec::new();
            let room = length.map(|length| values.try_reserve_exact(length));
            match (length, room) {
                (Some(length), Some(Ok(()))) => {
                    values.resize(length, 0.0);
                    Ok(values)
                }
                _ => Err(Error::OutOfMemory(format!(
                    "no memory for '{name}' of {rows} rows of {columns}"
                ))),
            }
        };
        Ok(Self {
            value: zeros()?,
            gradient: zeros()?,
            first_moment: zeros()?,
            second_moment: zeros()?,
            name,
            rows,
            columns,
            order,
        })
    }

    /// PEFT's key of it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Rows and columns.
    pub fn shape(&self) -> (usize, usize) {
        (self.rows, self.columns)
    }

    /// Numbers of it, row by row.
    pub fn numbers(&self, kind: Kind) -> Vec<f32> {
        let numbers = match kind {
            Kind::Value => &self.value,
            Kind::Gradient => &self.gradient,
            Kind::FirstMoment => &self.first_moment,
            Kind::SecondMoment => &self.second_moment,
        };
        match self.order {
            Order::ByRows => numbers.clone(),
            Order::ByColumns => turned(numbers, self.rows),
        }
    }

    fn write(&mut self, kind: Kind, values: &[f32]) -> Result<()> {
        if values.len() != self.value.len() {
            return Err(Error::Adapter(format!(
                "'{}' has {} rows of {}; {} numbers were given",
                self.name,
                self.rows,
                self.columns,
                values.len()
            )));
        }
        if let Some(place) = values.iter().position(|value| !value.is_finite()) {
            return Err(Error::Adapter(format!(
                "'{}' cannot have {} at {place}: its numbers are finite",
                self.name, values[place]
            )));
        }
        let target = match kind {
            Kind::Value => &mut self.value,
            Kind::Gradient => &mut self.gradient,
            Kind::FirstMoment => &mut self.first_moment,
            Kind::SecondMoment => &mut self.second_moment,
        };
        match self.order {
            Order::ByRows => target.copy_from_slice(values),
            Order::ByColumns => *target = turned(values, self.columns),
        }
        Ok(())
    }
}

impl TrainedMap {
    /// A as PEFT draws it, uniform in +-1/sqrt(inputs); B is 0.
    fn new(
        place: Place,
        (layer, module, name): (usize, Module, &str),
        (rank, random): (usize, &mut Random),
    ) -> Result<Self> {
        let half = match module {
            Module::Query
            | Module::Key
            | Module::Value
            | Module::QueryKeyValue
            | Module::AttentionOutput => "self_attn",
            Module::Gate | Module::Up | Module::GateUp | Module::Down => "mlp",
        };
        let key = |matrix: &str| format!("model.layers.{layer}.{half}.{name}.lora_{matrix}.weight");
        let mut a = Tensor::new(key("A"), (rank, place.inputs), Order::ByRows)?;
        let b = Tensor::new(key("B"), (place.outputs, rank), Order::ByColumns)?;
        let bound = 1.0 / (place.inputs as f64).sqrt();
        for value in &mut a.value {
            *value = (bound * (2.0 * random.unit() - 1.0)) as f32;
        }
        Ok(Self {
            b_by_rows: vec![0.0; b.value.len()],
            place,
            a,
            b,
        })
    }

    fn turn(&mut self) {
        self.b_by_rows = turned(&self.b.value, self.b.rows);
    }
}

impl AdapterTensors {
    pub(super) fn new(model: &Model, settings: &TrainingSettings) -> Result<Self> {
        let layers = model.spec().layers.len();
        let chosen = chosen_layers(settings, layers)?;
        let modules = chosen_modules(model, settings)?;
        let scale = settings.alpha / settings.rank as f32;
        if settings.rank == 0 || settings.rank > model.spec().hidden_size {
            return Err(Error::Config(format!(
                "rank is {}; it must be from 1 to {}, the model's width",
                settings.rank,
                model.spec().hidden_size
            )));
        }
        if !scale.is_finite() || scale == 0.0 {
            return Err(Error::Config(format!(
                "alpha is {}; it must be a number other than 0",
                settings.alpha
            )));
        }
        let mut random = Random::new(settings.seed);
        let mut maps = Vec::new();
        let mut sites = Vec::with_capacity(layers);
        for layer in 0..layers {
            sites.push(Site::ALL.map(|_| 0..0));
            if !chosen.contains(&layer) {
                continue;
            }
            for site in Site::ALL {
                let first = maps.len();
                for (name, module) in &modules {
                    let place = model.place_of(*module)?;
                    if place.site == site {
                        let map = (layer, *module, *name);
                        maps.push(TrainedMap::new(place, map, (settings.rank, &mut random))?);
                    }
                }
                sites[layer][site as usize] = first..maps.len();
            }
        }
        Ok(Self { scale, maps, sites })
    }

    /// The first layer that has any.
    pub(super) fn lowest_layer(&self) -> usize {
        let has_any = |sites: &[Range<usize>; 4]| sites.iter().any(|maps| !maps.is_empty());
        let first = self.sites.iter().position(has_any);
        first.unwrap_or(self.sites.len())
    }

    /// Those of one site.
    pub(super) fn at(&self, layer: usize, site: Site) -> &[TrainedMap] {
        &self.maps[self.sites[layer][site as usize].clone()]
    }

    /// Those of one site, to add to their gradients.
    pub(super) fn at_mut(&mut self, layer: usize, site: Site) -> &mut [TrainedMap] {
        &mut self.maps[self.sites[layer][site as usize].clone()]
    }

    /// Every tensor.
    pub(super) fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        self.maps.iter().flat_map(|map| [&map.a, &map.b])
    }

    /// Every tensor, to change; [`Self::changed`] follows.
    pub(super) fn tensors_mut(&mut self) -> impl Iterator<Item = &mut Tensor> {
        let maps = self.maps.iter_mut();
        maps.flat_map(|map| [&mut map.a, &mut map.b])
    }

    /// Brings what follows from the values up to date.
    pub(super) fn changed(&mut self) {
        self.maps.iter_mut().for_each(TrainedMap::turn);
    }

    pub(super) fn tensor(&self, name: &str) -> Result<&Tensor> {
        let found = self.tensors().find(|tensor| tensor.name == name);
        found.ok_or_else(|| unknown(name))
    }

    pub(super) fn write(&mut self, name: &str, kind: Kind, values: &[f32]) -> Result<()> {
        let mut maps = self.maps.iter_mut();
        let found = maps.find(|map| map.a.name == name || map.b.name == name);
        let map = found.ok_or_else(|| unknown(name))?;
        if map.a.name == name {
            return map.a.write(kind, values);
        }
        map.b.write(kind, values)?;
        map.turn();
        Ok(())
    }
}

/// Rows of so many numbers as columns.
fn turned(values: &[f32], columns: usize) -> Vec<f32> {
    let column = |index: usize| values.iter().skip(index).step_by(columns);
    (0..columns).flat_map(column).copied().collect()
}

fn unknown(name: &str) -> Error {
    Error::NotFound(format!("no tensor '{name}' is trained"))
}

fn chosen_layers(settings: &TrainingSettings, layers: usize) -> Result<BTreeSet<usize>> {
    let chosen: BTreeSet<usize> = match &settings.layers {
        Some(chosen) => chosen.iter().copied().collect(),
        None => (0..layers).collect(),
    };
    if let Some(layer) = chosen.iter().find(|layer| **layer >= layers) {
        return Err(Error::Config(format!(
            "layer {layer} is none of the model's {layers}, which are 0 to {}",
            layers.saturating_sub(1)
        )));
    }
    if chosen.is_empty() {
        return Err(Error::Config("no layer is to be trained".to_owned()));
    }
    Ok(chosen)
}

/// The named maps, each once, in the order of [`Module::NAMES`]; only those by whose names PEFT finds them in the model.
fn chosen_modules(
    model: &Model,
    settings: &TrainingSettings,
) -> Result<Vec<(&'static str, Module)>> {
    let input = &model.spec().tensors.layer.attention_input;
    let is_fused = matches!(input, AttentionInput::Fused(_));
    let has = |module: Module| match module {
        Module::QueryKeyValue | Module::GateUp => is_fused,
        Module::Query | Module::Key | Module::Value | Module::Gate | Module::Up => !is_fused,
        Module::AttentionOutput | Module::Down => true,
    };
    let there = Module::NAMES.iter().filter(|(_, module)| has(*module));
    for name in &settings.modules {
        if !there.clone().any(|(known, _)| known == name) {
            let names: Vec<_> = there.map(|(name, _)| *name).collect();
            return Err(Error::Config(format!(
                "'{name}' is no map of this model; it has {}",
                names.join(", ")
            )));
        }
    }
    let is_chosen = |name: &str| settings.modules.iter().any(|chosen| chosen == name);
    let chosen: Vec<_> = there.filter(|(name, _)| is_chosen(name)).copied().collect();
    if chosen.is_empty() {
        return Err(Error::Config("no map is to be trained".to_owned()));
    }
    Ok(chosen)
}
