"""French."""

TEXTS: dict[str, str] = {
    # Partout
    "application.title": "Vigie",
    "application.language": "Langue",
    "view.now": "Maintenant",
    "view.trend": "Tendance",
    "view.operation": "Exploitation",
    "unit.day": "j",
    "time.now": "à l’instant",
    "time.ago": "il y a {duration}",
    "quantity.temperature": "Température",
    "quantity.humidity": "Humidité",
    "quantity.co2": "CO₂",
    "quantity.pressure": "Pression",
    "quantity.battery_level": "Batterie",
    "quantity.battery_voltage": "Tension de batterie",
    "status.ok": "OK",
    "status.warning": "Avertissement",
    "status.critical": "Critique",
    "status.failure": "Panne",
    "status.stale": "Muet",
    "status.unknown": "Inconnu",
    "alert_kind.threshold": "Seuil",
    "alert_kind.fault": "Défaut",
    "alert_kind.silence": "Silence",
    "alert_kind.battery": "Batterie",
    "alert_kind.loss": "Perte",
    "mark.simulated": "simulé",
    "mark.estimated": "heure estimée",
    # États
    "state.loading": "Lecture de la base de données…",
    "state.empty.title": "Pas encore de mesure",
    "state.empty.text": (
        "La base de données est là et ne contient aucune mesure. Dès qu’une carte enverra la première, elle "
        "s’affichera ici d’elle-même."
    ),
    "state.nothing_chosen": "Rien ne correspond à ce qui est choisi.",
    "state.away.title": "La base de données est absente",
    "state.away.text": "Elle ne répond pas. Cette page réessaie d’elle-même, sans rechargement.",
    "state.away.stale": (
        "La base de données ne répond plus depuis {duration}. Ce qui est affiché date de {time}. Nouvel essai en cours."
    ),
    "state.not_vigie.title": "Ce n’est pas une base de données de Vigie",
    "state.not_vigie.text": (
        "Elle répond, mais ce compte n’y voit aucune table de Vigie. Vérifiez VIGIE_POSTGRES, et lancez "
        "`vigie-processor migrate` pour une base neuve."
    ),
    "state.schema.title": "La base de données est d’une version plus ancienne",
    "state.schema.text": "Il manque à ses tables ce que ce tableau de bord affiche. Lancez `vigie-processor migrate`.",
    "state.not_allowed.title": "Ce compte n’a pas le droit de lire les tables",
    "state.not_allowed.text": "Donnez-lui le rôle vigie_reader : `GRANT vigie_reader TO …`.",
    "state.slow.title": "La réponse a pris trop de temps",
    "state.slow.text": "La requête a été arrêtée à sa limite. Choisissez une période plus courte ou moins de capteurs.",
    "state.slow.stale": (
        "La dernière réponse a pris trop de temps et a été arrêtée. Ce qui est affiché date de {time}. "
        "Nouvel essai en cours."
    ),
    "state.settings.title": "Le tableau de bord n’est pas configuré",
    "state.failed.title": "Une erreur s’est produite dans le tableau de bord",
    "state.failed.text": "Le journal en contient les détails.",
    # Maintenant
    "now.title": "Maintenant",
    # Tendance
    "trend.title": "Tendance",
    "trend.sensors.choose": "Capteurs",
    "trend.sensors.placeholder": "Choisir des capteurs",
    "trend.quantities.choose": "Grandeurs",
    "trend.period": "Période",
    "trend.period.24h": "24 heures",
    "trend.period.7d": "7 jours",
    "trend.period.30d": "30 jours",
    "trend.period.custom": "Dates",
    "trend.period.dates": "Du et au",
    "trend.bucket": "Moyennes sur",
    "trend.bucket.help": (
        "Chaque point est la moyenne de toutes les mesures de cette durée. Les heures et les jours sont ceux de votre "
        "horloge."
    ),
    "trend.section": "Partie",
    "trend.section.evolution": "Évolution",
    "trend.section.alerts": "Alertes et pannes",
    "trend.section.sensors": "Capteurs",
    "trend.section.periods": "Périodes",
    "trend.section.correlation": "Corrélation",
    "trend.section.coverage": "Couverture et pertes",
    "trend.nothing_chosen": "Choisissez au moins un capteur et une grandeur.",
    "trend.future": "Cette période n’a pas encore commencé.",
    "trend.no_windows": (
        "Pour ces capteurs et cette période, le processeur n’a pas calculé de fenêtres dont on puisse tirer des "
        "moyennes."
    ),
    "trend.too_much": "C’est trop à la fois : choisissez moins de capteurs ou une période plus courte.",
    "trend.empty": "Ces capteurs n’ont pas de mesure dans cette période.",
    "trend.retention": (
        "Les fenêtres d’avant le {date} ont été supprimées : moyennes et couverture ne commencent qu’à cette date."
    ),
    "trend.footing": (
        "Du {start} au {end} ({zone}), par pas de {bucket}, à partir des fenêtres de {step} du processeur. Les "
        "moyennes sont pondérées par le nombre de mesures de chaque fenêtre."
    ),
    "trend.layout": "Disposition",
    "trend.layout.together": "Ensemble",
    "trend.layout.apart": "Séparément",
    "trend.evolution.bands": "La ligne est la moyenne, la bande va de la mesure la plus basse à la plus haute.",
    "trend.evolution.lines": "Les lignes sont des moyennes ; jusqu’à trois capteurs, des bandes montrent les extrêmes.",
    "trend.evolution.help": (
        "Dessous, la couverture : la part des mesures attendues qui sont là, hachurée au-dessous de 50 %. Les "
        "moyennes de ces moments-là, et celles qui sont isolées, sont des cercles vides. ▼ marque des mesures perdues."
    ),
    "trend.scope": "De quels capteurs",
    "trend.scope.all": "Tous les capteurs",
    "trend.scope.chosen": "Capteurs choisis",
    "trend.alerts": "Alertes",
    "trend.alerts.none": "Aucune alerte n’a été ouverte dans cette période.",
    "trend.alerts.in_time": "Alertes ouvertes",
    "trend.alerts.by_sensor": "Par capteur",
    "trend.alerts.by_cause": "Par type et cause",
    "trend.alerts.by_hour": "Alertes par jour de la semaine et heure",
    "trend.alerts.more": "Les {shown} qui ont le plus d’alertes, sur {count}. Le fichier CSV les contient tous.",
    "trend.stream": "{gateway} (flux)",
    "trend.failures.by_hour": "Mesures en panne des capteurs choisis par jour de la semaine et heure, en %",
    "trend.failures.none": "Aucune mesure des capteurs choisis n’est en panne dans cette période.",
    "trend.failures.share": "{failures} mesures sur {readings} en panne ({share}).",
    "trend.hour": "Heure du jour",
    "trend.kind": "Type",
    "trend.cause": "Cause",
    "trend.critical": "Critiques",
    "trend.open": "En cours",
    "trend.median": "Durée médiane",
    "trend.rank": "Rang",
    "trend.sensor": "Capteur",
    "trend.gateway": "Passerelle",
    "trend.average": "Moyenne",
    "trend.minimum": "Minimum",
    "trend.maximum": "Maximum",
    "trend.stddev": "Écart type",
    "trend.deviation": "Moyenne ± écart type",
    "trend.extremes": "Du minimum au maximum",
    "trend.readings": "Mesures",
    "trend.coverage": "Couverture",
    "trend.coverage.earlier": "Couverture avant",
    "trend.coverage.low": "Pas sous 50 %",
    "trend.coverage.buckets": "Pas",
    "trend.coverage.by_sensor": "Sur quoi reposent les moyennes",
    "trend.coverage.in_time": "Couverture dans le temps",
    "trend.coverage.help": (
        "La couverture est la part des mesures attendues, d’après l’intervalle d’un capteur et depuis sa première "
        "mesure, qui sont là. Hachuré : au-dessous de 50 %."
    ),
    "trend.warnings": "Avertissements",
    "trend.failures": "Pannes",
    "trend.late": "Tardives",
    "trend.lost.one": "{count} mesure perdue",
    "trend.lost.other": "{count} mesures perdues",
    "trend.lost.metric": "Perdues",
    "trend.lost.help": (
        "Mesures que les passerelles de ces capteurs ont numérotées et qui ne sont pas arrivées. Une passerelle "
        "numérote ensemble les mesures de tous ses capteurs : elles peuvent être d’un autre."
    ),
    "trend.losses": "Mesures perdues",
    "trend.losses.none": "Il ne manque aucune mesure de ces passerelles dans cette période.",
    "trend.losses.readings": "Mesures perdues",
    "trend.losses.after": "Après",
    "trend.losses.before": "Avant",
    "trend.losses.detected": "Constaté",
    "trend.losses.more": "Les {shown} plus grandes pertes sur {count}.",
    "trend.sensors.help": (
        "Classés par moyenne sur toute la période. Le trait épais est la moyenne ± un écart type des mesures, le trait "
        "fin va du minimum au maximum."
    ),
    "trend.compare": "Comparer avec",
    "trend.compare.before": "Les {days} j d’avant",
    "trend.compare.week": "Une semaine plus tôt",
    "trend.compare.4weeks": "4 semaines plus tôt",
    "trend.compare.dates": (
        "Du {start} au {end}, comparé à la période du {earlier_start} au {earlier_end}, aux mêmes heures de votre "
        "horloge."
    ),
    "trend.compare.none": "Ces capteurs n’ont pas de mesure dans la période antérieure.",
    "trend.current": "Cette période",
    "trend.earlier": "Avant",
    "trend.difference": "Différence",
    "trend.correlation.none": "Il faut au moins deux grandeurs mesurées.",
    "trend.correlation.matrix": "Corrélation des grandeurs",
    "trend.correlation.pair": "Deux d’entre elles",
    "trend.correlation.x": "En abscisse",
    "trend.correlation.y": "En ordonnée",
    "trend.correlation.help": (
        "r de Pearson des moyennes sur {bucket}, chacune par rapport à la moyenne de son capteur, pour que des lieux "
        "différents ne passent pas pour des grandeurs liées. n est le nombre de moyennes ; celles dont la couverture "
        "est inférieure à {least} sont écartées. Des moyennes voisines se ressemblent : r en dit moins que n moyennes "
        "indépendantes. Les points sont les moyennes telles quelles."
    ),
    "trend.download": "CSV",
    "trend.alt.evolution": "Moyennes dans le temps, avec extrêmes et couverture :",
    "trend.alt.alerts": "Nombre d’alertes par type.",
    "trend.alt.week": "Tableau des jours de la semaine et des heures.",
    "trend.alt.ranges": "Moyenne, écart type et extrêmes de chaque capteur :",
    "trend.alt.periods": "Cette période et la précédente :",
    "trend.alt.correlation": "Matrice des coefficients de corrélation.",
    "trend.alt.scatter": "Deux grandeurs l’une en fonction de l’autre.",
    "trend.alt.coverage": "Couverture dans le temps.",
    # Exploitation
    "operation.title": "Exploitation",
}
